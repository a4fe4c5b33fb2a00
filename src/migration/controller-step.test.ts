import { describe, expect, test } from 'vitest';
import type { VirtualMachine, VirtualMachineMigration } from '../api/objects.ts';
import type { ControllerFacts, PodFacts } from './controller-facts.ts';
import { controllerStep } from './controller-step.ts';
import type { SourceVerdict, TargetVerdict } from './evidence.ts';
import { limits } from './limits.ts';
import type { Preflight } from './preflight.ts';

type Status = NonNullable<VirtualMachineMigration['status']>;
type Pod = Extract<PodFacts, { exists: true }>;
/** A pod that differs from an ordinary running one; without a node when that is undefined. */
type PodExample = Partial<Omit<Pod, 'nodeName'>> & { nodeName?: string | undefined };

const epoch = Date.parse('2026-01-02T03:04:05.678Z');
const at = (milliseconds: number) => new Date(epoch + milliseconds).toISOString();
const metadata = { namespace: 'default', resourceVersion: '1', generation: 1, creationTimestamp: at(0) };
const none: PodFacts = { exists: false };

const atSource = { nodeName: 'node-a', podName: 'web-1', podUID: 'source-pod', generation: 1 };
const atTarget = { nodeName: 'node-b', podName: 'web-m-move-uid-1', podUID: 'target-pod', generation: 2 };
const lock = { name: 'move', uid: 'move-uid' };

const preflight: Preflight = {
  qemuVersion: '7.2.22',
  machineType: 'pc-q35-7.2',
  machineTypes: ['pc-q35-7.2'],
  accelerator: 'kvm',
  cpuModel: 'qemu64',
  cpuFeatures: 'f',
  memoryBytes: 2 ** 30,
  hardwareHash: 'h',
  runState: 'running',
  blockers: [],
};

interface Given {
  /** Milliseconds since the scenario began. */
  now?: number;
  spec?: Partial<VirtualMachineMigration['spec']>;
  metadata?: Partial<VirtualMachineMigration['metadata']>;
  status?: Status;
  vm?: { spec?: Partial<VirtualMachine['spec']>; status?: VirtualMachine['status']; deleting?: boolean } | 'none';
  source?: PodExample | 'none';
  target?: PodExample | 'none';
}

function facts({ now = 0, spec, status, vm = {}, source = {}, target = 'none', ...given }: Given): ControllerFacts {
  const pod = { resourceVersion: '1', deleting: false, held: true, running: true };
  const sourcePod = { exists: true as const, ...pod, name: 'web-1', uid: 'source-pod', nodeName: 'node-a' };
  const targetPod = { exists: true as const, ...pod, name: 'web-m-move-uid-1', uid: 'target-pod', nodeName: 'node-b' };
  const virtualMachine: VirtualMachine | undefined =
    vm === 'none'
      ? undefined
      : {
          apiVersion: 'vmferry.io/v1alpha1',
          kind: 'VirtualMachine',
          metadata: { ...metadata, name: 'web', uid: 'web-uid', ...(vm.deleting ? { deletionTimestamp: at(0) } : {}) },
          spec: { memory: '1Gi', firmware: { bios: {} }, powerState: 'Running', restartPolicy: 'Always', ...vm.spec },
          status: vm.status ?? { placement: atSource, ...(status === undefined ? {} : { migration: lock }) },
        };
  return {
    now: epoch + now,
    virtualMachine,
    sourcePod: source === 'none' ? none : ({ ...sourcePod, ...source } as PodFacts),
    targetPod: target === 'none' ? none : ({ ...targetPod, ...target } as PodFacts),
    migration: {
      apiVersion: 'vmferry.io/v1alpha1',
      kind: 'VirtualMachineMigration',
      metadata: { ...metadata, name: 'move', uid: 'move-uid', finalizers: ['vmferry.io/migration'], ...given.metadata },
      spec: { virtualMachineName: 'web', ...spec },
      ...(status === undefined ? {} : { status }),
    },
  };
}

const step = (given: Given) => controllerStep(facts(given));
const kinds = (given: Given) => step(given).effects.map(({ kind }) => kind);
const condition = (given: Given, type: string) => step(given).status?.conditions?.find((each) => each.type === type);

/** The attempt has begun. */
const begun: Status = {
  phase: 'Scheduling',
  timeline: [{ phase: 'Scheduling', at: at(0) }],
  attempt: 1,
  sourceNode: 'node-a',
  sourcePod: { name: 'web-1', uid: 'source-pod' },
};
const placed: Status = {
  ...begun,
  phase: 'Checking',
  timeline: [{ phase: 'Checking', at: at(0) }],
  targetNode: 'node-b',
  targetPod: { name: 'web-m-move-uid-1', uid: 'target-pod' },
};
const endpoint = { host: '10.0.0.2', port: 4444 };
const side = { attempt: 1, sequence: 1, preflight };
const checked: Status = {
  ...placed,
  source: { ...side, podUID: 'source-pod' },
  target: { ...side, podUID: 'target-pod', preflight: { ...preflight, runState: 'inmigrate' } },
};
const sending: Status = { ...checked, phase: 'Transferring', plan: { attempt: 1, endpoint } };
sending.timeline = [{ phase: 'Transferring', at: at(0) }];

/** What the two agents have said last. */
function said(source: SourceVerdict | undefined, target?: TargetVerdict, status: Status = sending): Status {
  return {
    ...status,
    source: { attempt: 1, sequence: 2, podUID: 'source-pod', ...(source === undefined ? {} : { verdict: source }) },
    target: { attempt: 1, sequence: 2, podUID: 'target-pod', ...(target === undefined ? {} : { verdict: target }) },
  };
}

const ended = { terminated: { exitCode: 137 } };
const moved = { placement: atTarget, migration: lock };

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

  test('finalizer, then lock, then the attempt is saved before its pod is created', () => {
    expect(kinds({ metadata: { finalizers: [] } })).toEqual(['addFinalizer']);
    expect(kinds({})).toEqual(['lockVirtualMachine']);
    expect(step({ vm: { status: { ...idle, migration: lock } } })).toMatchObject({
      status: { phase: 'Scheduling', attempt: 1, sourceNode: 'node-a', sourcePod: begun.sourcePod },
      effects: [{ kind: 'createTargetPod', attempt: 1, avoidNode: 'node-a' }],
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

  test('a target pod that was never created is created again', () => {
    expect(kinds({ status: begun })).toEqual(['createTargetPod']);
  });

  test('checked, not yet listening', () => {
    expect(step({ status: checked, target: {} }).status).toMatchObject({ phase: 'Preparing' });
    expect(condition({ status: checked, target: {} }, 'PreflightPassed')).toMatchObject({ status: 'True' });
  });

  test('listening: the plan is written', () => {
    const status: Status = {
      ...checked,
      target: {
        attempt: 1,
        sequence: 3,
        podUID: 'target-pod',
        preflight: { ...preflight, runState: 'inmigrate' },
        endpoint,
      },
    };
    expect(step({ status, target: {} }).status).toMatchObject({
      phase: 'Transferring',
      plan: { attempt: 1, endpoint },
    });
  });

  test('what an agent said of another pod or attempt is not heard', () => {
    const status: Status = { ...said('Completed', 'TookOver'), source: { attempt: 1, sequence: 1, podUID: 'another' } };
    expect(step({ status, target: {} })).toMatchObject({ status: { phase: 'Transferring' }, effects: [] });
  });

  test.each<{ scenario: string; given: Given; reason: string }>([
    {
      scenario: 'a failed check',
      given: {
        status: {
          ...checked,
          source: { ...side, podUID: 'source-pod', preflight: { ...preflight, blockers: ['vfio'] } },
        },
      },
      reason: 'PreflightFailed',
    },
    { scenario: 'a target that ended', given: { target: ended }, reason: 'TargetFailed' },
    {
      scenario: 'a target that its agent saw end',
      given: { status: said(undefined, 'Gone', checked) },
      reason: 'TargetFailed',
    },
    { scenario: 'a target pod that was removed', given: { target: 'none' }, reason: 'TargetFailed' },
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
  ])('$scenario: the source is asked to give up', ({ given, reason }) => {
    expect(step({ status: checked, target: {}, ...given })).toMatchObject({
      status: { phase: 'RollingBack', reason, abort: { attempt: 1, reason } },
      effects: [],
    });
  });

  test('a target that ends during the transfer is the source’s to tell', () => {
    expect(step({ status: sending, target: ended })).toMatchObject({ status: { phase: 'Transferring' }, effects: [] });
  });

  test('once asked, the source’s word is waited for', () => {
    const abort = { attempt: 1, reason: 'Cancelled', message: '' };
    const given: Given = { status: { ...sending, abort }, target: {}, spec: { cancel: true } };
    expect(step(given)).toMatchObject({ status: { phase: 'Transferring' }, effects: [] });
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

describe('rolling back', () => {
  const rollingBack = { ...said('Aborted'), phase: 'RollingBack', timeline: [{ phase: 'RollingBack', at: at(0) }] };
  const unplaced = { nodeName: undefined, running: false };

  test.each<{ scenario: string; target: Given['target']; now?: number; does: string[]; wait?: number }>([
    { scenario: 'its agent ends the target', target: {}, now: 1_000, does: [], wait: 4_000 },
    { scenario: 'a silent agent’s pod is deleted', target: {}, now: 5_000, does: ['deletePod'] },
    { scenario: 'a deleted pod is waited for', target: { deleting: true }, now: 9_000, does: [] },
    { scenario: 'a pod whose QEMU ended is let go', target: ended, does: ['releasePod'] },
    { scenario: 'a pod that was never placed is deleted', target: unplaced, does: ['deletePod'] },
    { scenario: 'and let go', target: { ...unplaced, deleting: true }, does: ['releasePod'] },
    {
      scenario: 'a pod that is let go already is waited for',
      target: { ...ended, deleting: true, held: false },
      does: [],
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
      lookAgainAfter: limits.agentSpeaks,
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

  test('a target whose agent does not answer is not deleted on the node’s word', () => {
    const abort = { attempt: 1, reason: 'SourceLost', message: '', sourceGone: true };
    const status: Status = { ...sending, abort, phase: 'RollingBack', timeline: [{ phase: 'RollingBack', at: at(0) }] };
    expect(kinds({ status, source: ended, target: {}, now: 60_000 })).toEqual([]);
    expect(
      kinds({ status: { ...status, ...said('Gone', undefined, status) }, source: ended, target: {}, now: 60_000 }),
    ).toEqual(['deletePod']);
    expect(
      kinds({ status: { ...status, ...said(undefined, 'Refused', status) }, source: ended, target: {}, now: 60_000 }),
    ).toEqual(['deletePod']);
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

  test('it ends when the node has told, too', () => {
    expect(step({ status: said('Gone', 'Refused') }).status).toMatchObject({ phase: 'RollingBack' });
  });
});

describe('settling', () => {
  const owner = { podUID: 'target-pod', generation: 2 };
  const succeeded: Status = {
    ...said('Completed', 'TookOver'),
    phase: 'Succeeded',
    owner,
    timeline: [{ phase: 'Succeeded', at: at(0) }],
  };
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

  test('a terminal phase is never left', () => {
    expect(step({ status: failed, spec: { cancel: true }, vm: 'none' }).status?.phase).toBe('Failed');
  });
});

describe('a target that its node says has ended after the source had told', () => {
  const timeline = [{ phase: 'SwitchingOver', at: at(0) }];
  const given: Given = { status: { ...said('Completed'), phase: 'SwitchingOver', timeline }, target: ended };

  test('its agent may still say that the guest never ran', () => {
    expect(step({ ...given, now: limits.agentSpeaks - 1 })).toMatchObject({ effects: [], lookAgainAfter: 1 });
  });

  test('its agent never speaks: it is taken for lost, and the VM starts again from its disks', () => {
    expect(kinds({ ...given, now: limits.agentSpeaks })).toEqual(['moveOwnership']);
  });
});

describe('leftovers and words', () => {
  test('a target pod that a sleeping leader created too late is removed', () => {
    const timeline = [{ phase: 'Cancelled', at: at(0) }];
    const given: Given = { status: { ...begun, phase: 'Cancelled', timeline }, target: {}, now: limits.agentEndsQemu };
    expect(kinds(given)).toEqual(['deletePod']);
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
