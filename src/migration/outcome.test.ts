import { describe, expect, test } from 'vitest';
import {
  at,
  atSource,
  atTarget,
  begun,
  condition,
  ended,
  type Given,
  kinds,
  lock,
  moved,
  type PodExample,
  type Status,
  said,
  sending,
  since,
  step,
} from './controller-examples.testing.ts';
import { limits } from './limits.ts';

describe('rolling back', () => {
  const rollingBack = since(0, { ...said('Aborted'), phase: 'RollingBack' }, { type: 'TargetCleaned' });
  const unplaced = { nodeName: undefined, running: false };

  test.each<{ scenario: string; target: Given['target']; now?: number; does: string[]; wait?: number }>([
    { scenario: 'its agent ends the target', target: {}, now: 1_000, does: [], wait: 4_000 },
    { scenario: 'a silent agent’s pod is deleted', target: {}, now: 5_000, does: ['deletePod'], wait: 10_000 },
    { scenario: 'a deleted pod is waited for', target: { deleting: true }, now: 9_000, does: [], wait: 6_000 },
    { scenario: 'a pod whose QEMU ended is let go', target: ended, does: ['releasePod'], wait: 5_000 },
    { scenario: 'a pod that was never placed is deleted', target: unplaced, does: ['deletePod'], wait: 5_000 },
    { scenario: 'and let go', target: { ...unplaced, deleting: true }, does: ['releasePod'], wait: 5_000 },
    {
      scenario: 'a pod that is let go already is waited for',
      target: { ...ended, deleting: true, held: false },
      does: [],
      wait: 5_000,
    },
  ])('$scenario', ({ target = {}, now = 0, does, wait }) => {
    const result = step({ status: rollingBack, target, now });
    expect(result.effects.map(({ kind }) => kind)).toEqual(does);
    expect(result.lookAgainAfter).toBe(wait);
    expect(result.status?.phase).toBe('RollingBack');
  });

  test.each([
    ['Cancelled', 'Cancelled'],
    ['TransferFailed', 'Failed'],
  ])('%s ends %s when the target is gone', (reason, phase) => {
    const status: Status = {
      ...rollingBack,
      source: { attempt: 1, sequence: 3, podUID: 'source-pod', verdict: 'Aborted', reason, message: 'It was so.' },
    };
    expect(step({ status }).status).toMatchObject({ phase, reason, message: 'It was so. vm/web runs on node-a.' });
    expect(condition({ status }, 'Succeeded')).toMatchObject({ status: 'False', reason });
    expect(condition({ status }, 'Finished')).toMatchObject({ status: 'True', reason });
  });

  test('a source that ended meanwhile is not said to run', () => {
    expect(step({ status: rollingBack, source: ended }).status?.message).toContain('vm/web is down');
  });
});

describe('a source that ended', () => {
  test('the node’s word alone: its agent may still say that it had told', () => {
    const given: Given = { status: sending, source: ended, target: {} };
    const first = step(given);
    expect(first).toMatchObject({
      status: { phase: 'RollingBack', reason: 'SourceLost' },
      effects: [],
    });
    expect(first.status).not.toHaveProperty('abort');
    const status = first.status as Status;
    expect(step({ ...given, status, now: limits.agentSpeaks }).status).toMatchObject({ abort: { sourceGone: true } });
  });

  test('its agent’s word: the target is to refuse', () => {
    const given: Given = { status: said('Gone'), target: {} };
    expect(step(given).status).toMatchObject({
      phase: 'RollingBack',
      abort: { reason: 'SourceLost', sourceGone: true },
    });
  });

  describe('and whose agent has not said whether it had told', () => {
    const abort = { attempt: 1, reason: 'SourceLost', message: '', sourceGone: true };
    const asked: Status = { ...sending, abort, phase: 'RollingBack', timeline: [{ phase: 'RollingBack', at: at(0) }] };

    test('the target is asked, and not touched before it has answered: it may have been told directly', () => {
      const given: Given = { status: asked, source: ended, target: {}, now: 3_600_000 };
      expect(step(given)).toMatchObject({ status: { phase: 'RollingBack' }, effects: [] });
      expect(kinds({ ...given, target: 'none' })).toEqual([]);
    });

    test('nobody speaks for the target either: an operator is asked', () => {
      const given: Given = { status: asked, source: ended, target: {}, now: 60_000, heard: { target: 1_000 } };
      expect(step(given)).toMatchObject({ status: { phase: 'NeedsAttention', reason: 'TargetSilent' }, effects: [] });
    });

    test('it took over: the VM is there', () => {
      const given: Given = { status: said(undefined, 'TookOver', asked), source: ended, target: {} };
      expect(kinds(given)).toEqual(['moveOwnership']);
    });

    test.each<{ scenario: string; status: Status; target: Given['target'] }>([
      { scenario: 'it refused', status: said(undefined, 'Refused', asked), target: {} },
      { scenario: 'the source’s own word came after all', status: said('Gone', undefined, asked), target: {} },
      { scenario: 'it has ended, too', status: asked, target: ended },
    ])('$scenario: the VM is down, and the target pod is removed', ({ status, target = {} }) => {
      const known = since(0, status, { type: 'TargetCleaned' });
      const does = kinds({ status: known, source: ended, target, now: limits.agentEndsQemu });
      expect(does).toEqual([target === ended ? 'releasePod' : 'deletePod']);
    });
  });

  test.each<{ scenario: string; source: PodExample; reason: string }>([
    { scenario: 'by itself', source: { terminated: { exitCode: 0 } }, reason: 'GuestPoweredOff' },
    { scenario: 'with an error', source: ended, reason: 'SourceLost' },
    {
      scenario: 'because its pod was deleted',
      source: { deleting: true, terminated: { exitCode: 0 } },
      reason: 'SourceLost',
    },
  ])('$scenario: $reason', ({ source, reason }) => {
    expect(step({ status: said('Gone', 'Refused'), source }).status).toMatchObject({ phase: 'Failed', reason });
  });

  test('its agent tells first, and its node how: that counts', () => {
    const before = step({ status: said('Gone', 'Refused') }).status as Status;
    expect(before).toMatchObject({ phase: 'RollingBack', reason: 'SourceLost', abort: { reason: 'SourceLost' } });
    const after = step({ status: before, source: { terminated: { exitCode: 0 } } }).status as Status;
    expect(after).toMatchObject({ phase: 'Failed', reason: 'GuestPoweredOff', abort: { reason: 'GuestPoweredOff' } });
  });

  test('it ends when the node has told, too', () => {
    expect(step({ status: said('Gone', 'Refused') }).status).toMatchObject({ phase: 'RollingBack' });
  });
});

describe('trying again', () => {
  const spec = { backoffLimit: 1 };
  /** The first attempt has failed, and its target is gone. */
  function failed(reason: string, given: Status = {}): Status {
    const source = {
      attempt: 1,
      sequence: 3,
      podUID: 'source-pod',
      verdict: 'Aborted' as const,
      reason,
      message: 'So.',
    };
    return since(0, { ...said('Aborted'), phase: 'RollingBack', ...given, source }, { type: 'TargetCleaned' });
  }
  const afterAWhile = limits.retry;

  test('a reason of the target’s node: what the attempt was about is noted, and all of it is taken back', () => {
    const status = since(0, failed('TransferFailed'), { type: 'PreflightPassed', is: 'True', reason: 'Checked' });
    const { status: next, effects } = step({ status, spec, now: afterAWhile });
    expect(effects).toEqual([]);
    expect(next).toMatchObject({
      phase: 'Scheduling',
      reason: 'Retrying',
      message: 'Attempt 1 failed: So. Attempt 2 begins. vm/web runs on node-a.',
      attempt: 2,
      sourcePod: begun.sourcePod,
      source: { attempt: 2, podUID: 'source-pod', sequence: 0 },
      attempts: [{ attempt: 1, targetNode: 'node-b', result: 'Failed', reason: 'TransferFailed', message: 'So.' }],
      conditions: [],
    });
    for (const taken of ['plan', 'abort', 'target', 'targetNode', 'targetPod']) expect(next).not.toHaveProperty(taken);
    expect(kinds({ status: next as Status, spec, now: afterAWhile })).toEqual(['createTargetPod']);
  });

  test('not at once, and each time later', () => {
    expect(step({ status: failed('TransferFailed'), spec })).toMatchObject({
      status: { phase: 'RollingBack' },
      lookAgainAfter: limits.retry,
    });
    const source = {
      attempt: 3,
      sequence: 3,
      podUID: 'source-pod',
      verdict: 'Aborted' as const,
      reason: 'TransferFailed',
    };
    const third = { ...failed('TransferFailed'), attempt: 3, source };
    expect(step({ status: third, spec: { backoffLimit: 3 } }).lookAgainAfter).toBe(4 * limits.retry);
  });

  test.each<{ scenario: string; given: Given; reason: string }>([
    { scenario: 'no attempt is left', given: { status: failed('TransferFailed'), spec: {} }, reason: 'TransferFailed' },
    {
      scenario: 'the last attempt has failed, too',
      given: { status: failed('TransferFailed'), spec: { backoffLimit: 0 } },
      reason: 'TransferFailed',
    },
    { scenario: 'the reason is of the VM', given: { status: failed('NotMigratable') }, reason: 'NotMigratable' },
    { scenario: 'it took too long', given: { status: failed('TransferTimedOut') }, reason: 'TransferTimedOut' },
    { scenario: 'its owner cancelled', given: { status: failed('Cancelled') }, reason: 'Cancelled' },
    {
      scenario: 'its owner has cancelled since',
      given: { status: failed('TransferFailed'), spec: { ...spec, cancel: true } },
      reason: 'TransferFailed',
    },
    {
      scenario: 'the VM is to stop',
      given: { status: failed('TransferFailed'), vm: { spec: { powerState: 'Stopped' } } },
      reason: 'TransferFailed',
    },
    {
      scenario: 'the source has ended meanwhile',
      given: { status: failed('TransferFailed'), source: { ...ended, running: false } },
      reason: 'TransferFailed',
    },
  ])('not when $scenario', ({ given, reason }) => {
    const phase = reason === 'Cancelled' ? 'Cancelled' : 'Failed';
    expect(step({ spec, now: 60_000, ...given }).status).toMatchObject({ phase, reason });
  });

  test('while the last target’s end has not been seen: its source has decided, so it is a debt', () => {
    const given: Given = { status: failed('TargetNotAnswering'), spec, target: { deleting: true } };
    expect(step({ ...given, now: limits.debt - 1 }).status).toMatchObject({ phase: 'RollingBack' });
    expect(step({ ...given, now: limits.debt }).status).toMatchObject({ attempt: 2, reason: 'Retrying' });
  });
});

describe('a debt', () => {
  const owed = since(0, { ...said('Aborted'), phase: 'RollingBack' }, { type: 'TargetCleaned' });

  test('the target’s node does not answer: the VM is given back, and the debt has a name', () => {
    const given: Given = { status: owed, target: { deleting: true }, now: limits.debt };
    expect(step(given).status).toMatchObject({ phase: 'Failed' });
    expect(condition(given, 'TargetCleaned')).toMatchObject({
      status: 'False',
      reason: 'Owed',
      message: expect.stringContaining('Yet to be seen gone: pod web-m-move-uid-1 on node-b.'),
    });
    expect(kinds({ ...given, status: step(given).status as Status })).toContain('unlockVirtualMachine');
  });

  test('it is settled when the pod is gone', () => {
    const status = since(0, { ...said('Aborted'), phase: 'Failed' }, { type: 'TargetCleaned', reason: 'Owed' });
    expect(kinds({ status, target: { deleting: true, ...ended } })).toContain('releasePod');
    expect(condition({ status }, 'TargetCleaned')).toMatchObject({ status: 'True', reason: 'Gone' });
  });
});

describe('settling', () => {
  const owner = { podUID: 'target-pod', generation: 2 };
  const finished = { type: 'Finished', is: 'True', reason: 'Migrated' } as const;
  const succeeded = since(0, { ...said('Completed', 'TookOver'), phase: 'Succeeded', owner }, finished);
  const failed: Status = { ...said('Aborted', 'Refused'), phase: 'Failed' };

  test.each<{ scenario: string; given: Given; does: string[] }>([
    { scenario: 'the source’s agent ends it', given: { status: succeeded, now: 1_000 }, does: [] },
    {
      scenario: 'a silent agent’s source pod is deleted',
      given: { status: succeeded, now: 5_000 },
      does: ['deletePod'],
    },
    {
      scenario: 'the source has ended: its pod is let go',
      given: { status: succeeded, source: ended },
      does: ['releasePod'],
    },
    {
      scenario: 'the source pod is gone: the VM is given back',
      given: { status: { ...succeeded, downtimeMilliseconds: 23 }, source: 'none' },
      does: ['unlockVirtualMachine'],
    },
    {
      scenario: 'the source pod is gone, and the measured pause is still on its way',
      given: { status: succeeded, source: 'none' },
      does: [],
    },
    {
      scenario: 'the pause was never measured: the VM is given back all the same',
      given: { status: succeeded, source: 'none', now: limits.downtimeTold },
      does: ['unlockVirtualMachine'],
    },
    { scenario: 'failed: the VM is given back at once', given: { status: failed }, does: ['unlockVirtualMachine'] },
    {
      scenario: 'given back: nothing is left',
      given: { status: failed, vm: { status: { placement: atSource } } },
      does: [],
    },
    {
      scenario: 'deleted: given back, then let go',
      given: { status: failed, metadata: { deletionTimestamp: at(0) } },
      does: ['unlockVirtualMachine', 'removeFinalizer'],
    },
    {
      scenario: 'deleted before the source was cleaned: it stays',
      given: { status: succeeded, metadata: { deletionTimestamp: at(0) } },
      does: [],
    },
    {
      scenario: 'another migration holds the lock by now',
      given: { status: failed, vm: { status: { placement: atSource, migration: { name: 'next', uid: 'next' } } } },
      does: [],
    },
  ])('$scenario', ({ given, does }) => {
    const vm = given.status?.phase === 'Succeeded' ? { status: moved } : {};
    expect(kinds({ vm, ...given })).toEqual(does);
  });

  test('the source’s node does not answer: the VM is given back, and the debt has a name', () => {
    const given: Given = { status: succeeded, vm: { status: moved } };
    expect(condition({ ...given, now: limits.downtimeTold }, 'SourceCleaned')).toMatchObject({ reason: 'Waiting' });
    const late = { ...given, source: { deleting: true }, now: limits.debt };
    expect(kinds(late)).toEqual(['unlockVirtualMachine']);
    expect(condition(late, 'SourceCleaned')).toMatchObject({
      status: 'False',
      reason: 'Owed',
      message: 'Yet to be seen gone: pod web-1 on node-a.',
    });
  });

  test('and is settled when the node answers, or was fenced', () => {
    const owed = since(0, succeeded, { type: 'SourceCleaned', reason: 'Owed' });
    const given: Given = { status: owed, vm: { status: { placement: atTarget } }, now: 3_600_000 };
    expect(kinds({ ...given, source: { deleting: true, ...ended } })).toEqual(['releasePod']);
    expect(kinds({ ...given, source: { deleting: true, fenced: 'it is off' } })).toEqual(['releasePod']);
    expect(condition({ ...given, source: 'none' }, 'SourceCleaned')).toMatchObject({ status: 'True', reason: 'Gone' });
  });

  test('what an earlier attempt owes is told as that, and keeps nobody waiting', () => {
    const measured: Status = { ...succeeded, downtimeMilliseconds: 23 };
    const given: Given = { status: measured, source: 'none', vm: { status: moved }, debts: [{ deleting: true }] };
    expect(kinds(given)).toEqual(['unlockVirtualMachine']);
    expect(condition(given, 'SourceCleaned')).toMatchObject({ status: 'True' });
    expect(condition(given, 'TargetCleaned')).toMatchObject({
      status: 'False',
      reason: 'Owed',
      message: expect.stringContaining('pod web-m-move-uid-0 on node-b'),
    });
    expect(condition({ ...given, debts: [] }, 'TargetCleaned')).toBeUndefined();
  });

  test('deleted with a debt: the object goes, and the pod itself remembers', () => {
    const given: Given = {
      status: since(0, failed, { type: 'TargetCleaned', reason: 'Owed' }),
      target: { deleting: true },
    };
    expect(kinds({ ...given, metadata: { deletionTimestamp: at(0) } })).toEqual([
      'unlockVirtualMachine',
      'removeFinalizer',
    ]);
  });

  test('the source says that it runs again after the VM was given away for lost: it is taken back, and not ended', () => {
    const lost = since(0, { ...said('Resumed', 'Gone'), phase: 'Failed', owner }, finished);
    const back = { nodeName: 'node-a', podName: 'web-1', podUID: 'source-pod' };
    const given: Given = { status: lost, vm: { status: moved }, target: ended, now: 60_000 };
    expect(step(given).effects).toEqual([{ kind: 'moveOwnership', fromPodUID: 'target-pod', to: back }]);
    const taken = step({ ...given, vm: { status: { placement: { ...atSource, generation: 3 }, migration: lock } } });
    expect(taken.status).not.toHaveProperty('owner');
    expect(taken.effects).toEqual([]);
  });

  test('a terminal phase is never left', () => {
    expect(step({ status: failed, spec: { cancel: true }, vm: 'none' }).status?.phase).toBe('Failed');
  });
});

describe('leftovers and words', () => {
  test('a target pod that a sleeping leader created too late is removed', () => {
    const finished = { type: 'Finished', is: 'True', reason: 'Cancelled' } as const;
    const given: Given = { status: since(0, { ...begun, phase: 'Cancelled' }, finished), target: {} };
    expect(kinds({ ...given, now: limits.agentEndsQemu })).toEqual(['deletePod']);
    const owed = { ...given, target: { deleting: true }, now: limits.debt };
    expect(kinds(owed)).toEqual(['unlockVirtualMachine']);
    expect(condition(owed, 'TargetCleaned')).toMatchObject({ status: 'False', reason: 'Owed' });
  });

  test('a paused guest that was moved is not said to run', () => {
    const status = said('Completed', 'TookOver');
    const stands = {
      ...status,
      source: { attempt: 1, sequence: 3, podUID: 'source-pod', verdict: 'Completed' as const, resumeTarget: false },
    };
    expect(step({ status: stands, target: {}, vm: { status: moved } }).status?.message).toContain(
      'vm/web is on node-b',
    );
  });
});
