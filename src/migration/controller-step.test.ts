import { describe, expect, test } from 'vitest';
import {
  at,
  atSource,
  atTarget,
  begun,
  checked,
  condition,
  ended,
  endpoint,
  epoch,
  type Given,
  kinds,
  lock,
  moved,
  placed,
  preflight,
  type Status,
  said,
  sending,
  side,
  step,
} from './controller-examples.testing.ts';
import { limits } from './limits.ts';

describe('accepting', () => {
  const idle = { placement: atSource };

  test.each<{ scenario: string; given: Given; phase: string; reason: string }>([
    { scenario: 'no such VM', given: { vm: 'none' }, phase: 'Failed', reason: 'VirtualMachineNotFound' },
    {
      scenario: 'a VM in deletion',
      given: { vm: { deleting: true } },
      phase: 'Failed',
      reason: 'VirtualMachineDeleted',
    },
    {
      scenario: 'a stopped VM',
      given: { vm: { spec: { powerState: 'Stopped' } } },
      phase: 'Failed',
      reason: 'VirtualMachineNotRunning',
    },
    { scenario: 'a cancel', given: { spec: { cancel: true } }, phase: 'Cancelled', reason: 'Cancelled' },
    {
      scenario: 'another migration of the VM',
      given: { vm: { status: { ...idle, migration: { name: 'other', uid: 'other' } } } },
      phase: 'Pending',
      reason: 'WaitingForOtherMigration',
    },
    {
      scenario: 'a VM that has yet to start',
      given: { vm: { status: { placement: { podName: 'web-1', generation: 1 } } } },
      phase: 'Pending',
      reason: 'WaitingForVirtualMachine',
    },
    {
      scenario: 'a VM that has ended',
      given: { source: { running: false } },
      phase: 'Pending',
      reason: 'WaitingForVirtualMachine',
    },
    {
      scenario: 'a VM that is there already',
      given: { spec: { target: { nodeName: 'node-a' } } },
      phase: 'Failed',
      reason: 'AlreadyOnTargetNode',
    },
  ])('$scenario: $phase, $reason', ({ given, phase, reason }) => {
    expect(step(given)).toMatchObject({ status: { phase, reason }, effects: [] });
  });

  test('one for which there is no room waits without the lock, until there is, or it is not wanted any more', () => {
    const room = { toBegin: 'Too many.' };
    expect(step({ room })).toMatchObject({
      status: { phase: 'Pending', reason: 'WaitingForCapacity', message: 'Too many. vm/web runs on node-a.' },
      effects: [],
    });
    const status: Status = { phase: 'Pending', reason: 'WaitingForCapacity' };
    expect(kinds({ status, vm: { status: idle } })).toEqual(['lockVirtualMachine']);
    expect(step({ status, room, spec: { cancel: true }, vm: { status: idle } })).toMatchObject({
      status: { phase: 'Cancelled' },
    });
    // Once it has the lock, others wait for it.
    expect(kinds({ room, vm: { status: { ...idle, migration: lock } } })).toEqual(['createTargetPod']);
  });

  test('finalizer, then lock, then the attempt is saved before its pod is created', () => {
    expect(kinds({ metadata: { finalizers: [] } })).toEqual(['addFinalizer']);
    expect(kinds({})).toEqual(['lockVirtualMachine']);
    expect(step({ vm: { status: { ...idle, migration: lock } } })).toMatchObject({
      status: { phase: 'Scheduling', attempt: 1, sourceNode: 'node-a', sourcePod: begun.sourcePod },
      effects: [{ kind: 'createTargetPod', attempt: 1, avoidNodes: ['node-a'], shunNodes: [] }],
    });
  });

  test('a VM that ends right after the lock was taken is not kept locked', () => {
    const given: Given = { vm: { status: { ...idle, migration: lock } }, source: { running: false, ...ended } };
    expect(step(given).status).toMatchObject({ attempt: 1, sourcePod: begun.sourcePod });
    expect(step({ ...given, status: begun }).status).toMatchObject({ phase: 'Failed', reason: 'SourceLost' });
  });

  test('an object without our finalizer that is deleted is left alone', () => {
    expect(step({ metadata: { finalizers: [], deletionTimestamp: at(0) } }).effects).toEqual([]);
  });
});

describe('forward', () => {
  test('a pod that no node takes is waited for, then given up', () => {
    const target = { nodeName: undefined, unschedulable: { since: epoch, message: 'no memory' }, running: false };
    const unplaced = (now: number): Given => ({ status: begun, target, now });
    expect(step(unplaced(1_000))).toMatchObject({ status: { phase: 'Scheduling' }, lookAgainAfter: 9_000 });
    expect(step(unplaced(10_000)).status).toMatchObject({ phase: 'RollingBack', abort: { reason: 'Unschedulable' } });
  });

  test('placed: both sides are checked', () => {
    expect(step({ status: begun, target: {} }).status).toMatchObject({
      phase: 'Checking',
      targetNode: 'node-b',
      targetPod: placed.targetPod,
    });
  });

  test('a target pod that was never created is created again, and given up when that does not help', () => {
    expect(kinds({ status: begun })).toEqual(['createTargetPod']);
    expect(step({ status: begun, now: limits.targetCreated }).status).toMatchObject({
      abort: { reason: 'TargetFailed' },
    });
  });

  test('a target pod that no scheduler looks at is given up', () => {
    const given: Given = { status: begun, target: { nodeName: undefined, running: false } };
    expect(step(given).status).toMatchObject({ phase: 'Scheduling' });
    expect(step({ ...given, now: limits.unscheduled }).status).toMatchObject({ abort: { reason: 'Unschedulable' } });
  });

  test('the next attempt avoids the nodes that failed, unless one is asked for by name', () => {
    const failed = { attempt: 1, targetNode: 'node-b', result: 'Failed', reason: '', message: '', finishedAt: at(0) };
    const status: Status = { ...begun, attempt: 2, attempts: [failed, { ...failed, targetNode: 'node-b' }] };
    expect(step({ status }).effects).toMatchObject([{ attempt: 2, avoidNodes: ['node-a', 'node-b'] }]);
    const spec = { target: { nodeName: 'node-b' } };
    expect(step({ status, spec }).effects).toMatchObject([{ avoidNodes: ['node-a'] }]);
  });

  test('checked, not yet listening', () => {
    expect(step({ status: checked, target: {} }).status).toMatchObject({ phase: 'Preparing' });
    expect(condition({ status: checked, target: {} }, 'PreflightPassed')).toMatchObject({ status: 'True' });
  });

  test('listening: the plan is written, when its turn has come', () => {
    const status: Status = {
      ...checked,
      target: { ...side, podUID: 'target-pod', preflight: { ...preflight, runState: 'inmigrate' }, endpoint },
    };
    const room = { toSend: 'Too many.', fullNodes: [] };
    const waiting = step({ status, target: {}, room });
    expect(waiting.status).toMatchObject({
      phase: 'Preparing',
      reason: 'WaitingForCapacity',
      message: 'The target on node-b is ready. Too many. vm/web runs on node-a.',
    });
    expect(waiting.status?.plan).toBeUndefined();
    expect(step({ status, target: {}, room, spec: { cancel: true } }).status).toMatchObject({ phase: 'RollingBack' });
    expect(step({ status, target: {} }).status).toMatchObject({
      phase: 'Transferring',
      plan: { attempt: 1, endpoint },
    });
  });

  test('what an agent said of another pod or attempt is not heard', () => {
    const another = { attempt: 1, sequence: 1, podUID: 'another' };
    const earlier = { attempt: 0, sequence: 1, podUID: 'target-pod', verdict: 'TookOver' as const };
    const status: Status = { ...sending, source: { ...another, verdict: 'Completed' }, target: earlier };
    expect(step({ status, target: {} })).toMatchObject({ status: { phase: 'Transferring' }, effects: [] });
  });

  test.each<{ scenario: string; given: Given; reason: string }>([
    {
      scenario: 'a VM that cannot be moved',
      given: {
        status: {
          ...checked,
          source: { ...side, podUID: 'source-pod', preflight: { ...preflight, blockers: ['vfio'] } },
        },
      },
      reason: 'NotMigratable',
    },
    {
      scenario: 'two nodes that do not fit',
      given: {
        status: {
          ...checked,
          source: { ...side, podUID: 'source-pod', preflight: { ...preflight, qemuVersion: '10.0.0' } },
        },
      },
      reason: 'PreflightFailed',
    },
    {
      scenario: 'a target that its agent saw end',
      given: { status: said(undefined, 'Gone', checked) },
      reason: 'TargetFailed',
    },
    { scenario: 'a target pod in deletion', given: { target: { deleting: true } }, reason: 'TargetFailed' },
    { scenario: 'agents that do not answer', given: { status: placed, now: 120_001 }, reason: 'TargetNotReady' },
    { scenario: 'cancel', given: { spec: { cancel: true } }, reason: 'Cancelled' },
    { scenario: 'deletion', given: { metadata: { deletionTimestamp: at(0) } }, reason: 'Cancelled' },
    { scenario: 'deletion of the VM', given: { vm: { deleting: true } }, reason: 'VirtualMachineDeleted' },
    {
      scenario: 'a VM told to stop',
      given: { vm: { spec: { powerState: 'Stopped' } } },
      reason: 'VirtualMachineStopped',
    },
  ])('$scenario: given up, and the target is left to its agent at first', ({ given, reason }) => {
    expect(step({ status: checked, target: {}, ...given })).toMatchObject({
      status: { phase: 'RollingBack', reason, abort: { attempt: 1, reason } },
      effects: [],
      lookAgainAfter: limits.agentEndsQemu,
    });
  });

  test.each<{ scenario: string; target: Given['target']; does: string[]; phase: string }>([
    { scenario: 'ended: it is let go', target: ended, does: ['releasePod'], phase: 'RollingBack' },
    {
      scenario: 'was fenced: it is let go',
      target: { fenced: 'it is off' },
      does: ['releasePod'],
      phase: 'RollingBack',
    },
    { scenario: 'was removed: nothing is left to do', target: 'none', does: [], phase: 'Failed' },
  ])('a target that $scenario', ({ target = {}, does, phase }) => {
    const result = step({ status: checked, target });
    expect(result.status).toMatchObject({ phase, reason: 'TargetFailed', abort: { reason: 'TargetFailed' } });
    expect(result.effects.map(({ kind }) => kind)).toEqual(does);
  });

  test('before anything was approved nobody’s word is needed to give it up', () => {
    const given: Given = { status: placed, spec: { cancel: true }, heard: { source: 'never', target: 'never' } };
    expect(step(given).status).toMatchObject({ phase: 'Cancelled', reason: 'Cancelled' });
  });

  test.each<{ scenario: string; given: Given; reason: string }>([
    { scenario: 'cancel', given: { spec: { cancel: true } }, reason: 'Cancelled' },
    { scenario: 'a target pod that somebody deletes', given: { target: { deleting: true } }, reason: 'TargetFailed' },
    { scenario: 'a target pod that vanished', given: { target: 'none' }, reason: 'TargetFailed' },
    { scenario: 'a target that was fenced', given: { target: { fenced: 'it is off' } }, reason: 'TransferFailed' },
  ])('$scenario while bytes flow: the source is asked, and nothing is touched until it has answered', (example) => {
    const { given, reason } = example;
    const first = step({ status: sending, target: {}, ...given });
    expect(first).toMatchObject({
      status: { phase: 'RollingBack', reason, abort: { attempt: 1, reason } },
      effects: [],
    });
    expect(first.status?.message).toContain('The agent on node-a has yet to confirm that the guest is back as it was.');
    expect(kinds({ target: {}, ...given, status: first.status as Status, now: 3_600_000 })).toEqual([]);
  });

  test('what the source’s agent waits for is passed on, and given up when both are there and it lasts', () => {
    const source = { attempt: 1, sequence: 2, podUID: 'source-pod', preflight };
    const waits = { ...source, reason: 'HandoverPathLost', message: "The target's agent does not answer directly." };
    const status: Status = { ...sending, source: waits };
    expect(step({ status, target: {} }).status).toMatchObject({
      phase: 'Transferring',
      message: "The target's agent does not answer directly. vm/web runs on node-a.",
    });
    expect(step({ status, target: {}, now: limits.pathOpened }).status).toMatchObject({
      abort: { reason: 'HandoverPathLost' },
    });
    const away = { status, target: {}, now: limits.pathOpened, heard: { target: 1_000 } };
    expect(step(away).status).not.toHaveProperty('abort');
    expect(step({ status: sending, target: {} }).status?.message).toContain('Memory is being sent to node-b.');
  });

  test('a target that ends during the transfer is the source’s to tell', () => {
    expect(step({ status: sending, target: ended })).toMatchObject({ status: { phase: 'Transferring' }, effects: [] });
  });

  test('what was asked once is not asked again', () => {
    const abort = { attempt: 1, reason: 'TargetFailed', message: 'It ended.' };
    const given: Given = { status: { ...sending, abort }, target: {}, spec: { cancel: true } };
    expect(step(given)).toMatchObject({ status: { phase: 'RollingBack', abort }, effects: [] });
  });
});

describe('after the source has completed', () => {
  test('the target is waited for', () => {
    expect(step({ status: said('Completed'), target: {} })).toMatchObject({
      status: { phase: 'SwitchingOver' },
      effects: [],
    });
  });

  test.each([undefined, 'TookOver', 'Lost'] as const)('a cancel comes too late (target: %s)', (target) => {
    const given: Given = { status: said('Completed', target), target: {}, spec: { cancel: true } };
    expect(condition(given, 'CancelRejected')).toMatchObject({ status: 'True' });
    expect(step(given).status).not.toHaveProperty('abort');
  });

  test('ownership moves first, and then the status says so', () => {
    const { generation: _, ...to } = atTarget;
    const given: Given = { status: said('Completed', 'TookOver'), target: {} };
    expect(step(given).effects).toEqual([{ kind: 'moveOwnership', fromPodUID: 'source-pod', to }]);
    expect(step(given).status?.phase).toBe('Transferring');
    const { status, effects } = step({ ...given, vm: { status: moved } });
    expect(effects).toEqual([]);
    expect(status).toMatchObject({
      phase: 'Succeeded',
      reason: 'Migrated',
      message: 'vm/web runs on node-b. It came from node-a.',
      owner: { podUID: 'target-pod', generation: 2 },
      transfer: { progressPercent: 100 },
    });
  });

  test('a target that ended before it was said to run is not said to run', () => {
    const given: Given = { status: said('Completed', 'TookOver'), target: ended, vm: { status: moved } };
    expect(step(given).status?.message).toBe('vm/web is down: its QEMU on node-b has ended. It came from node-a.');
  });

  test('a target lost after it may have run takes the VM with it', () => {
    const given: Given = { status: said('Completed', 'Lost'), target: ended };
    expect(kinds(given)).toEqual(['moveOwnership']);
    expect(step({ ...given, vm: { status: moved } }).status).toMatchObject({
      phase: 'Failed',
      reason: 'TargetLostAfterHandover',
      owner: { podUID: 'target-pod' },
    });
  });

  test('a target gone before it ran: the source’s agent continues the guest', () => {
    expect(step({ status: said('Completed', 'Gone'), target: ended })).toMatchObject({
      status: { phase: 'SwitchingOver' },
      effects: [],
    });
    expect(step({ status: said('Resumed', 'Gone') }).status).toMatchObject({
      phase: 'Failed',
      reason: 'TargetLost',
      message: 'The target QEMU ended before it had run the guest. vm/web runs on node-a.',
    });
  });

  test.each(['Gone', 'Refused'] as const)('source ended, target %s: the VM is down', (verdict) => {
    const given: Given = { status: said('Completed', verdict), source: ended };
    expect(step(given).status).toMatchObject({ phase: 'Failed', reason: 'SourceLost' });
    expect(step({ ...given, target: ended }).effects).toMatchObject([{ kind: 'releasePod' }]);
  });

  test('source ended, target yet to take over: it is waited for', () => {
    expect(step({ status: said('Completed'), source: ended, target: {} })).toMatchObject({
      status: { phase: 'SwitchingOver' },
      effects: [],
    });
  });
});
