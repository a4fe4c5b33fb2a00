import { describe, expect, test } from 'vitest';
import {
  at,
  begun,
  checked,
  ended,
  facts,
  type Given,
  moved,
  placed,
  type Status,
  said,
  sending,
  step,
} from './controller-examples.testing.ts';
import { controllerStep } from './controller-step.ts';
import { limits } from './limits.ts';

const long = limits.agentSilent + 1;
const abort = { attempt: 1, reason: 'Cancelled', message: 'spec.cancel was set.' };
const askedWhileEnded = { attempt: 1, reason: 'SourceLost', message: '', sourceGone: true };

/** Nobody speaks for one side, and only that side can say what has to be known. */
const situations: { scenario: string; given: Given; reason: string; says: string[] }[] = [
  {
    scenario: 'the source’s node falls silent while bytes flow',
    given: { status: sending, target: {}, heard: { source: 0 } },
    reason: 'SourceSilent',
    says: ['Nobody speaks for node-a', 'kubectl taint node node-a', 'vmferry.io/fenced=source-pod'],
  },
  {
    scenario: 'the source is asked to give up, and does not answer',
    given: { status: { ...sending, abort }, target: {}, heard: { source: 0 } },
    reason: 'SourceSilent',
    says: ['spec.cancel was set.', 'may run still', 'vmferry.io/fenced=source-pod'],
  },
  {
    scenario: 'the target was told, and does not answer',
    given: { status: said('Completed'), target: {}, heard: { target: 0 } },
    reason: 'TargetSilent',
    says: ['handed over to node-b', 'it may run there, or stand still', 'vmferry.io/fenced=target-pod'],
  },
  {
    scenario: 'the target never ran, and the source does not continue the guest',
    given: { status: said('Completed', 'Gone'), target: ended, heard: { source: 0 } },
    reason: 'SourceSilent',
    says: ['it stands still on node-a', 'vmferry.io/fenced=source-pod'],
  },
  {
    scenario: 'the source’s QEMU ended, and its agent does not say whether it had told',
    given: { status: sending, source: ended, target: {}, heard: { source: 0 } },
    reason: 'SourceSilent',
    says: ['it is not known whether vm/web had been handed over; it is down', 'vmferry.io/fenced=source-pod'],
  },
  {
    scenario: 'both fell silent after the source’s end, and the guest may run at the target',
    given: {
      status: { ...sending, abort: askedWhileEnded },
      source: ended,
      target: {},
      heard: { source: 0, target: 0 },
    },
    reason: 'TargetSilent',
    says: ['may run', 'vmferry.io/fenced=target-pod'],
  },
];

describe('somebody has to look', () => {
  // The last one is reached from a phase of its own.
  test.each(situations.slice(0, -1))('$scenario', ({ given, reason, says }) => {
    const soon = step({ ...given, now: limits.agentSilent });
    expect(soon.status?.phase).not.toBe('NeedsAttention');
    const late = step({ ...given, now: long });
    expect(late).toMatchObject({ status: { phase: 'NeedsAttention', reason }, effects: [] });
    for (const words of says) expect(late.status?.message).toContain(words);
  });

  test.each<{ scenario: string; given: Given; node: string }>([
    {
      scenario: 'the source’s agent is not there',
      given: { status: placed, heard: { source: 'never' } },
      node: 'node-a',
    },
    {
      scenario: 'the target’s agent is not there',
      given: { status: placed, heard: { target: 'never' } },
      node: 'node-b',
    },
    { scenario: 'it went away while it got ready', given: { status: checked, heard: { target: 0 } }, node: 'node-b' },
  ])('before anything was sent: $scenario, and a cancel ends it at once', ({ given, node }) => {
    const { status } = step({ ...given, target: {}, now: 60_000 });
    expect(status).toMatchObject({ phase: 'NeedsAttention' });
    expect(status?.message).toContain(`The agent on ${node} does not answer. vm/web runs on node-a.`);
    expect(status?.message).toContain('or cancel the migration');
    expect(status).not.toHaveProperty('abort');
    const cancelled = step({ ...given, status: status as Status, spec: { cancel: true }, now: 60_000 });
    expect(cancelled.status).toMatchObject({ phase: 'Cancelled' });
  });

  test('before it was sent, and only the target is silent: it is said, too', () => {
    const source = { attempt: 1, sequence: 2, podUID: 'source-pod', reason: 'HandoverPathLost', message: 'No answer.' };
    const given: Given = { status: { ...sending, source }, target: {}, heard: { target: 0 }, now: long };
    expect(step(given).status).toMatchObject({ phase: 'NeedsAttention', reason: 'TargetSilent' });
  });

  test('a silent target while bytes flow is no reason: the source’s agent sees to it', () => {
    const given: Given = { status: sending, target: {}, heard: { target: 'never' }, now: 3_600_000 };
    expect(step(given).status?.phase).toBe('Transferring');
  });

  test('a source that is silent while its target finds no node', () => {
    const target = { nodeName: undefined, running: false };
    expect(step({ status: begun, target, heard: { source: 0 }, now: 3_600_000 }).status?.phase).toBe('NeedsAttention');
  });

  test('a source that is silent while its target pod cannot be created', () => {
    const { status } = step({ status: begun, heard: { source: 0 }, now: 3_600_000 });
    expect(status?.phase).toBe('NeedsAttention');
    const given = facts({ status: status as Status, now: 3_600_000 });
    const back = controllerStep({ ...given, agents: { source: { since: given.now, seenAt: given.now } } });
    expect(back).toMatchObject({ status: { phase: 'Scheduling' }, effects: [{ kind: 'createTargetPod' }] });
  });
});

describe('waiting for somebody', () => {
  /** Each step starts from what the last one saved, and hears nothing new. */
  function later(given: Given, times: readonly number[]): Status[] {
    const saved: Status[] = [];
    let { status } = given;
    for (const now of times) {
      status = controllerStep(facts({ ...given, now, ...(status === undefined ? {} : { status }) })).status;
      saved.push(status as Status);
    }
    return saved;
  }

  function settlesDown({ given, reason }: (typeof situations)[number]): void {
    const times = [1, 2, 3, 4, 5, 6, 9].map((round) => round * long);
    const [, , , first, ...others] = later(given, times);
    expect(first).toMatchObject({ phase: 'NeedsAttention', reason });
    for (const other of others) expect(other).toEqual(first);
  }

  test.each(situations)('$scenario: nothing more is written while nothing is heard', settlesDown);

  test('an agent that comes back takes it out of there, and its time begins anew', () => {
    const { given } = situations[2] as { given: Given };
    const [waiting] = later(given, [long]);
    const back = { ...given, status: waiting as Status, heard: { target: 2 * long }, now: 2 * long };
    expect(step(back).status).toMatchObject({ phase: 'SwitchingOver' });
  });
});

describe('what an operator says', () => {
  const fenced = { fenced: 'node is out of service' };

  test.each<{ scenario: string; given: Given; does: string[]; status: object }>([
    {
      scenario: 'a source that never told is fenced: the target is asked whether it was told after all, and is silent',
      given: { status: sending, source: fenced, target: {} },
      does: [],
      status: { phase: 'NeedsAttention', reason: 'TargetSilent', abort: { reason: 'SourceLost', sourceGone: true } },
    },
    {
      scenario: 'a target that was told is fenced: the VM is down, and starts from its disks',
      given: { status: said('Completed'), target: fenced },
      does: ['moveOwnership'],
      status: {},
    },
    {
      scenario: 'both are fenced: the VM is down',
      given: { status: sending, source: fenced, target: fenced },
      does: ['releasePod'],
      status: { phase: 'RollingBack', reason: 'SourceLost' },
    },
  ])('$scenario', ({ given, does, status }) => {
    const silent = { heard: { ...(given.source ? { source: 0 } : {}), ...(given.target ? { target: 0 } : {}) } };
    const first = step({ ...given, ...silent, now: long });
    // The first step may only have learned of the silence.
    const second = step({ ...given, ...silent, status: first.status as Status, now: long + 1 });
    expect(second.effects.map(({ kind }) => kind)).toEqual(does);
    expect(second.status).toMatchObject(status);
  });

  test.each<{ scenario: string; status: Status; does: string[]; says: object }>([
    {
      scenario: 'that was told: the VM is down',
      status: { ...said('Completed'), phase: 'SwitchingOver', timeline: [{ phase: 'SwitchingOver', at: at(0) }] },
      does: ['moveOwnership'],
      says: {},
    },
    {
      scenario: 'that was not told: the source is to give up',
      status: sending,
      does: [],
      says: { abort: { reason: 'TransferFailed' } },
    },
    {
      scenario: 'that was asked whether it had been told: the VM is down',
      status: { ...sending, abort: askedWhileEnded },
      does: [],
      says: { phase: 'Failed', reason: 'SourceLost' },
    },
  ])('a target whose pod was removed by force is fenced, $scenario', ({ status, does, says }) => {
    const given = facts({ status, now: 1, ...(status.abort === undefined ? {} : { source: ended }) });
    const removed = (targetPod: typeof given.targetPod) => controllerStep({ ...given, targetPod });
    expect(removed({ exists: false }).effects).toEqual([]);
    const after = removed({ exists: false, ...fenced });
    expect(after.effects.map(({ kind }) => kind)).toEqual(does);
    expect(after.status).toMatchObject(says);
  });
});

describe('source and target both say that they ran the guest', () => {
  const given: Given = { status: said('Aborted', 'TookOver'), target: {} };

  test('nothing is touched, and somebody has to look', () => {
    expect(step(given)).toMatchObject({ status: { phase: 'NeedsAttention', reason: 'Contradiction' }, effects: [] });
  });

  test('once one of them is gone, the other is the VM', () => {
    expect(step({ ...given, target: ended }).status).toMatchObject({ phase: 'RollingBack', reason: 'Contradiction' });
    expect(step({ ...given, source: ended }).effects).toMatchObject([{ kind: 'moveOwnership' }]);
  });

  test('a target that was lost is not a success', () => {
    const lost: Given = { status: said('Gone', 'Lost'), source: ended, target: ended };
    expect(step({ ...lost, vm: { status: moved } }).status).toMatchObject({ phase: 'Failed' });
  });
});
