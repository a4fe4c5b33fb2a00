import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type ProtocolRange, protocol } from '../api/protocol.ts';
import { checked, endpoint, type Status, step } from './controller-examples.testing.ts';
import { agree, unspoken } from './skew.ts';
import { plan, step as sourceStep } from './source-examples.testing.ts';

type Pair = [oldest: number, newest: number];
const range = ([oldest, newest]: Pair): ProtocolRange => ({ oldest, newest });

test.each<
  [scenario: string, ours: Pair, source: Pair | undefined, target: Pair | undefined, expected: number | string]
>([
  ['all of one release', [1, 1], [1, 1], [1, 1], 1],
  ['a controller that was updated first', [1, 2], [1, 1], [1, 1], 1],
  ['agents that were updated first', [1, 1], [1, 2], [1, 2], 1],
  ['one agent that was updated, and one that was not', [1, 2], [1, 2], [1, 1], 1],
  ['an agent of before there were versions', [1, 1], [1, 1], undefined, 'AgentTooOld'],
  ['an agent that is left behind', [2, 3], [2, 3], [1, 1], 'AgentTooOld'],
  ['a controller that is left behind', [1, 1], [2, 3], [1, 1], 'AgentTooNew'],
  ['agents that know only the controller in common', [1, 3], [1, 1], [2, 3], 'AgentTooOld'],
])('%s', (_, ours, source, target, expected) => {
  const agents = [
    { node: 'node-a', speaks: source && range(source) },
    { node: 'node-b', speaks: target && range(target) },
  ];
  const agreed = agree(range(ours), agents);
  expect(typeof agreed === 'number' ? agreed : agreed.reason).toBe(expected);
});

test('what is agreed on is spoken by all, and where there is such a thing it is agreed on', () => {
  const anyRange = fc
    .tuple(fc.nat({ max: 5 }), fc.nat({ max: 3 }))
    .map(([oldest, more]) => range([oldest, oldest + more]));
  fc.assert(
    fc.property(anyRange, fc.array(anyRange, { maxLength: 2 }), (ours, speak) => {
      const agreed = agree(
        ours,
        speak.map((speaks, index) => ({ node: `node-${index}`, speaks })),
      );
      const common = [0, 1, 2, 3, 4, 5, 6, 7, 8].filter((version) =>
        [ours, ...speak].every(({ oldest, newest }) => oldest <= version && version <= newest),
      );
      expect(typeof agreed === 'number' ? agreed : undefined).toBe(common.at(-1));
    }),
  );
});

test.each([
  [protocol.newest, undefined],
  [undefined, 'ControllerTooOld'],
  [protocol.oldest - 1, 'ControllerTooOld'],
  [protocol.newest + 1, 'AgentTooOld'],
])('an agent that is to send by protocol %s: %s', (asked, reason) => {
  expect(unspoken(asked)?.reason).toBe(reason);
});

test('an agent does not send by a plan that it may misread', () => {
  const cause = { reason: 'ControllerTooOld', message: 'No.' } as const;
  expect(sourceStep({ plan, unspoken: cause }).effects).toEqual([{ kind: 'recordAborted', cause }]);
});

test('the controller gives up before anything is sent, and else names what is spoken', () => {
  const status: Status = { ...checked, target: { ...checked.target, endpoint } as NonNullable<Status['target']> };
  expect(step({ status, target: {} }).status?.plan).toMatchObject({ protocol: protocol.newest });
  const pretending = { oldest: protocol.newest + 1, newest: protocol.newest + 1 };
  const refused = step({ status, target: {}, protocol: pretending }).status;
  expect(refused).toMatchObject({ phase: 'RollingBack', abort: { reason: 'AgentTooOld' } });
  expect(refused?.plan).toBeUndefined();
  const silent: Status = { ...status, target: { attempt: 1, sequence: 1, podUID: 'target-pod' } };
  expect(step({ status: silent, target: {}, protocol: pretending }).status).toMatchObject({
    abort: { reason: 'AgentTooOld', message: expect.stringContaining('The agent on node-a speaks') },
  });
});
