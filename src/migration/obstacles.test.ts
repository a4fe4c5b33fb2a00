/** Deadlines before the transfer count only while everybody concerned is there, by the controller's own clock. */
import { describe, expect, test } from 'vitest';
import {
  at,
  begun,
  checked,
  ended,
  epoch,
  facts,
  type Given,
  placed,
  type Status,
  said,
  sending,
} from './controller-examples.testing.ts';
import type { AgentPresence } from './controller-facts.ts';
import { limits } from './limits.ts';
import { cancelOf, obstacle, wish } from './obstacles.ts';

interface When {
  /** Milliseconds since the scenario began. */
  now: number;
  /** Since when the agents have been heard without a break, and until when; from the beginning until now when not said. */
  source?: [since: number, until: number];
  target?: [since: number, until: number];
}

function reason(given: Given, { now, source = [0, now], target = [0, now] }: When): string | undefined {
  const heard = ([since, until]: [number, number]): AgentPresence => ({ since: epoch + since, seenAt: epoch + until });
  return obstacle({ ...facts({ ...given, now }), agents: { source: heard(source), target: heard(target) } })?.reason;
}

const unplaced = { nodeName: undefined, running: false };
const refused: Given = { status: begun };
const unscheduled: Given = { status: begun, target: unplaced };
const unschedulable: Given = {
  status: begun,
  target: { ...unplaced, unschedulable: { since: epoch, message: 'no memory' } },
};
const unready: Given = { status: placed, target: {} };
const waits: Status = {
  ...sending,
  source: { attempt: 1, sequence: 2, podUID: 'source-pod', reason: 'HandoverPathLost', message: 'No answer.' },
};
const noPath: Given = { status: waits, target: {} };

/** What is waited for, how long, and whose absence stops that clock. */
const deadlines: { scenario: string; given: Given; limit: number; says: string; both: boolean }[] = [
  {
    scenario: 'a target pod that cannot be created',
    given: refused,
    limit: limits.targetCreated,
    says: 'TargetFailed',
    both: false,
  },
  {
    scenario: 'a target pod that no scheduler looks at',
    given: unscheduled,
    limit: limits.unscheduled,
    says: 'Unschedulable',
    both: false,
  },
  {
    scenario: 'a target pod that no node takes',
    given: unschedulable,
    limit: limits.unschedulable,
    says: 'Unschedulable',
    both: false,
  },
  {
    scenario: 'a target that does not get ready',
    given: unready,
    limit: limits.targetReady,
    says: 'TargetNotReady',
    both: true,
  },
  {
    scenario: 'agents that do not reach each other',
    given: noPath,
    limit: limits.pathOpened,
    says: 'HandoverPathLost',
    both: true,
  },
];

describe.each(deadlines)('$scenario', ({ given, limit, says, both }) => {
  test('is given up when its time is over, and not before', () => {
    expect(reason(given, { now: limit - 1 })).toBeUndefined();
    expect(reason(given, { now: limit })).toBe(says);
  });

  test('not after an outage of the controller or of the API server: everybody is heard anew', () => {
    const now = 3_600_000;
    const back: [number, number] = [now - limit + 1, now];
    expect(reason(given, { now, source: back, target: back })).toBeUndefined();
    expect(reason(given, { now: now + 1, source: [back[0], now + 1], target: [back[0], now + 1] })).toBe(says);
  });

  test('not while the source’s agent is away', () => {
    expect(reason(given, { now: 3_600_000, source: [0, limit - 1] })).toBeUndefined();
  });

  test(`${both ? 'not' : 'also'} while the target’s agent is away`, () => {
    expect(reason(given, { now: 3_600_000, target: [0, limit - 1] })).toBe(both ? undefined : says);
  });
});

describe('a target that does not get ready', () => {
  const message = (status: Status) => obstacle(facts({ status, target: {}, now: limits.targetReady }))?.message;

  test('the message names whoever is lacking', () => {
    const { source: _, ...withoutSource } = checked;
    const { target: __, ...withoutTarget } = checked;
    expect(message(withoutSource)).toBe(
      'After 120 s the agent on node-a has not answered, and the agent on node-b has not made the target ready.',
    );
    expect(message(withoutTarget)).toBe('After 120 s the agent on node-b has not made the target ready.');
  });

  test('only who is lacking has to be there', () => {
    const onlyTarget: Given = { status: checked, target: {} };
    const now = 3_600_000;
    expect(reason(onlyTarget, { now, source: [0, 1_000] })).toBe('TargetNotReady');
    expect(reason(onlyTarget, { now, target: [0, 1_000] })).toBeUndefined();
  });

  test('the next attempt is not measured by the time of the one before', () => {
    const timeline = [
      { phase: 'Checking', at: at(0) },
      { phase: 'Scheduling', at: at(200_000) },
      { phase: 'Checking', at: at(201_000) },
    ];
    const second: Given = { status: { ...placed, attempt: 2, timeline }, target: {} };
    expect(reason(second, { now: 201_000 + limits.targetReady - 1 })).toBeUndefined();
    expect(reason(second, { now: 201_000 + limits.targetReady })).toBe('TargetNotReady');
  });
});

describe('what needs no time', () => {
  test.each<{ scenario: string; given: Given; says: string | undefined }>([
    {
      scenario: 'the target pod was removed before the transfer',
      given: { status: placed, target: 'none' },
      says: 'TargetFailed',
    },
    { scenario: 'the target ended before it', given: { status: placed, target: ended }, says: 'TargetFailed' },
    {
      scenario: 'the target pod is deleted while bytes flow',
      given: { status: sending, target: { deleting: true } },
      says: 'TargetFailed',
    },
    {
      scenario: 'the target’s node was fenced',
      given: { status: sending, target: { fenced: 'it is off' } },
      says: 'TransferFailed',
    },
    { scenario: 'the target ends while bytes flow', given: { status: sending, target: ended }, says: undefined },
    {
      scenario: 'the source has decided: what it waited for is no reason any more',
      given: {
        status: {
          ...waits,
          source: { attempt: 1, sequence: 3, podUID: 'source-pod', verdict: 'Completed', reason: 'HandoverPathLost' },
        },
        target: {},
      },
      says: undefined,
    },
    { scenario: 'nothing stands in the way', given: { status: said(undefined), target: {} }, says: undefined },
  ])('$scenario: $says', ({ given, says }) => {
    expect(reason(given, { now: 1 })).toBe(says);
  });
});

describe('a wish', () => {
  test('the migration’s owner is asked first', () => {
    const both = facts({ status: sending, spec: { cancel: true }, vm: { deleting: true } });
    expect(wish(both, true)).toMatchObject({ message: 'The migration was deleted.' });
    expect(wish(both, false)).toMatchObject({ message: 'spec.cancel was set.' });
    expect(wish(facts({ vm: { deleting: true } }), false)).toMatchObject({ reason: 'VirtualMachineDeleted' });
    expect(wish(facts({ vm: 'none' }), false)).toBeUndefined();
  });

  test('what the VM’s owner wants is not the migration’s to cancel', () => {
    expect(cancelOf(facts({ vm: { deleting: true } }).migration, false)).toBeUndefined();
    expect(cancelOf(facts({ spec: { cancel: true } }).migration, false)).toMatchObject({ reason: 'Cancelled' });
  });
});
