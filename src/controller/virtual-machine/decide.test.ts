import { describe, expect, test } from 'vitest';
import { orphanedLockIsHarmless, type VirtualMachineStep, virtualMachineStep } from './decide.ts';
import {
  aNewPod,
  aPod,
  at,
  aVirtualMachine,
  ended,
  epoch,
  guest,
  hardware,
  placement,
  theFacts,
  type VirtualMachineExample,
} from './examples.testing.ts';
import type { PodFacts, Status } from './facts.ts';

interface Given extends VirtualMachineExample {
  pods?: PodFacts[];
  /** Milliseconds since the scenario's epoch. */
  now?: number;
  lockHolderExists?: boolean;
  placementFenced?: string;
  fencedTarget?: { name: string; uid: string };
}

function step(given: Given): VirtualMachineStep {
  const { pods = [], now = 0, lockHolderExists = true, placementFenced, fencedTarget, ...vm } = given;
  const evidence = {
    ...(placementFenced === undefined ? {} : { placementFenced }),
    ...(fencedTarget === undefined ? {} : { fencedTarget }),
  };
  return virtualMachineStep(
    theFacts({ virtualMachine: aVirtualMachine(vm), pods, now: epoch + now, lockHolderExists, ...evidence }),
  );
}

/** The effects but for what is only told. */
function acts(result: VirtualMachineStep): string[] {
  return result.effects
    .filter(({ kind }) => kind !== 'tell')
    .map((effect) => {
      if (effect.kind === 'createPod') return `createPod ${effect.podName}${effect.paused ? ' paused' : ''}`;
      if (effect.kind === 'reportGuestRunning') return `reportGuestRunning ${effect.pod.name} ${effect.running}`;
      return 'pod' in effect ? `${effect.kind} ${effect.pod.name}` : effect.kind;
    });
}

const told = (result: VirtualMachineStep) =>
  result.effects.flatMap((effect) => (effect.kind === 'tell' ? [effect.reason] : []));

function condition(result: VirtualMachineStep, type: string) {
  return result.status.conditions?.find((candidate) => candidate.type === type);
}

/** Steps again with the status that was decided, as the next reconcile would. */
const again = (given: Given) => step({ ...given, status: step(given).status });

const running: Given = { status: { placement, hardware, guest }, pods: [aPod({ guestRunning: true })] };

describe('start', () => {
  test('a new VM gets its finalizer before anything else', () => {
    const result = step({ metadata: { finalizers: [] } });
    expect(acts(result)).toEqual(['addFinalizer']);
    expect(result.status).toEqual({});
  });

  test('the placement and the frozen hardware are decided with the pod that follows from them', () => {
    const result = step({});
    expect(result.status).toMatchObject({ placement: { generation: 1, podName: 'web-1' }, hardware, phase: 'Pending' });
    expect(result.status.placement).not.toHaveProperty('podUID');
    expect(acts(result)).toEqual(['createPod web-1']);
    expect(told(result)).toEqual(['Starting']);
  });

  test('a VM that is to be paused starts with its guest standing still', () => {
    expect(acts(step({ spec: { powerState: 'Paused' } }))).toEqual(['createPod web-1 paused']);
  });

  test('a pod that was not created after its placement was saved is created now, of the hardware saved', () => {
    const saved = { ...hardware, cpu: { model: 'qemu64', cores: 7 } };
    const result = step({ status: { placement: { generation: 3, podName: 'web-3' }, hardware: saved } });
    expect(result.effects).toEqual([{ kind: 'createPod', podName: 'web-3', hardware: saved, paused: false }]);
    expect(result.status.placement?.generation).toBe(3);
  });

  test('a created pod is named by UID before the scheduler may have it', () => {
    const result = step({ status: { placement: { generation: 1, podName: 'web-1' } }, pods: [aNewPod()] });
    expect(result.status.placement).toEqual({ generation: 1, podName: 'web-1', podUID: 'pod-1' });
    expect(acts(result)).toEqual(['admitPod web-1']);
  });

  test("somebody else's pod of that name is left alone and the next generation is used", () => {
    const foreign = aPod({ ours: false, held: false });
    const result = step({ status: { placement: { generation: 1, podName: 'web-1' } }, pods: [foreign] });
    expect(result.status.placement).toEqual({ generation: 2, podName: 'web-2' });
    expect(acts(result)).toEqual(['createPod web-2']);
  });

  test.each<[string, PodFacts]>([
    ['runs on', aPod({ name: 'web-0', uid: 'old' })],
    ['is lost by its kubelet', aPod({ name: 'web-0', uid: 'old', container: { state: 'lost' } })],
    ['is being deleted on a node', aPod({ name: 'web-0', uid: 'old', deleting: true })],
    [
      'was given up by its node without a word on its container',
      aPod({ name: 'web-0', uid: 'old', rejection: 'Evicted', container: { state: 'unreported' } }),
    ],
    ["is a finished migration's", aPod({ name: 'web-m-1', uid: 'old', role: 'target', migrationUID: 'gone' })],
    ["is another VM's of the same name", aPod({ name: 'web-0', uid: 'old', ours: false })],
  ])('no start while an earlier pod %s', (_, old) => {
    const result = step({ pods: [old] });
    expect(acts(result)).toEqual([]);
    expect(result.status).toMatchObject({
      phase: 'Pending',
      message: expect.stringContaining(`${old.name} on node-a`),
    });
    expect(result.status.placement).toBeUndefined();
  });

  test('a pod that turns up between placement and admission keeps the new one behind its gate', () => {
    const old = aPod({ name: 'web-0', uid: 'old' });
    const result = step({ status: { placement: { generation: 1, podName: 'web-1' } }, pods: [aNewPod(), old] });
    expect(acts(result)).toEqual([]);
  });

  test('a late pod of an earlier generation, never bound, is removed without having run', () => {
    const late = aNewPod({ name: 'web-0', uid: 'late' });
    expect(acts(step({ ...running, pods: [aPod({ guestRunning: true }), late] }))).toEqual(['deletePod web-0']);
    expect(acts(step({ ...running, pods: [aPod({ guestRunning: true }), { ...late, deleting: true }] }))).toEqual([
      'releasePod web-0',
    ]);
  });
});

describe('what people see', () => {
  const bound = aPod({ container: { state: 'unreported' } });
  test.each<[string, Given, string, string]>([
    [
      "the scheduler's sentence",
      { pods: [aNewPod({ gated: false, unschedulable: '0/2 nodes are available.' })] },
      'Pending',
      '0/2 nodes are available.',
    ],
    [
      'the image being pulled',
      { pods: [aPod({ container: { state: 'waiting', message: 'ImagePullBackOff: no such image' } })] },
      'Starting',
      'ImagePullBackOff',
    ],
    ['a bound pod', { pods: [bound] }, 'Starting', 'is starting on node-a'],
    ['a guest not reported yet', { pods: [aPod()] }, 'Starting', 'has yet to report'],
    [
      "another pod's guest",
      { pods: [aPod()], status: { placement, guest: { ...guest, podUID: 'other' } } },
      'Starting',
      'has yet to report',
    ],
    ['a rejected pod', { pods: [{ ...bound, rejection: 'OutOfcpu: no' }] }, 'Failed', 'OutOfcpu'],
    ['a container that was lost track of', { pods: [aPod({ container: { state: 'lost' } })] }, 'Failed', 'lost track'],
    ['a pod that vanished', { pods: [] }, 'Failed', 'removed by force'],
    [
      'a disk error',
      { pods: [aPod()], status: { placement, guest: { ...guest, running: false, runState: 'io-error' } } },
      'Paused',
      'disk error',
    ],
    [
      'a run state nobody knows',
      { pods: [aPod()], status: { placement, guest: { ...guest, runState: 'colo' } } },
      'Running',
      'colo',
    ],
  ])('%s', (_, given, phase, message) => {
    const result = step({ status: { placement }, ...given });
    expect(result.status).toMatchObject({ phase, message: expect.stringContaining(message) });
    expect(acts(result).filter((act) => !act.startsWith('reportGuestRunning'))).toEqual([]);
  });

  test('a running VM is Ready and LiveMigratable, and its pod is told', () => {
    const result = step({ ...running, pods: [aPod()] });
    expect(result.status.phase).toBe('Running');
    expect(result.status.message).toBeUndefined();
    expect(condition(result, 'Ready')).toMatchObject({ status: 'True', lastTransitionTime: at(0) });
    expect(condition(result, 'LiveMigratable')).toMatchObject({ status: 'True' });
    expect(acts(result)).toEqual(['reportGuestRunning web-1 true']);
  });

  test('nothing is written when nothing has changed', () => {
    const result = again(running);
    expect(step({ ...running, status: result.status, now: 60_000 })).toEqual({ status: result.status, effects: [] });
  });

  test('every reason against a migration is listed', () => {
    const status = {
      ...running.status,
      hardware: { ...hardware, cpu: { model: 'host', cores: 1 } },
      guest: { ...guest, blockers: ['one.', 'two.'] },
    };
    expect(condition(step({ ...running, status }), 'LiveMigratable')).toMatchObject({
      status: 'False',
      reason: 'HostCPUModel',
      message: expect.stringMatching(/host.*one\. two\.$/),
    });
    expect(condition(step({}), 'LiveMigratable')).toMatchObject({ status: 'False', reason: 'NotRunning' });
  });

  test('a paused VM is Paused, not Ready, and its pod not either', () => {
    const status = { ...running.status, guest: { ...guest, running: false, runState: 'paused' } };
    const result = step({ ...running, status, spec: { powerState: 'Paused' } });
    expect(result.status.phase).toBe('Paused');
    expect(condition(result, 'Paused')).toMatchObject({ status: 'True' });
    expect(condition(result, 'Ready')).toMatchObject({ status: 'False', reason: 'Paused' });
    expect(acts(result)).toEqual(['reportGuestRunning web-1 false']);
  });

  test('a pod that has become the owner by migration counts as running until its agent says otherwise', () => {
    expect(
      step({ ...running, pods: [aPod({ uid: 'pod-1', role: 'target' })], status: { placement } }).status.phase,
    ).toBe('Running');
  });
});

describe('QEMU ended by itself', () => {
  const poweredOff = aPod({ container: ended(0) });
  const crashed = aPod({ container: ended(1, { message: 'qemu: no such file' }) });
  const deleted = aPod({ container: ended(0), deleting: true });
  const evicted = aPod({ container: ended(0), evicted: 'Evicted: The node was low on memory.' });
  const forgotten: PodFacts = { ...evicted, container: { state: 'lost' }, fenced: 'the agent has seen it end' };
  test.each<[string, 'Always' | 'OnFailure' | 'Never', PodFacts, string, string]>([
    ['the guest powered itself off', 'Always', poweredOff, 'GuestPoweredOff', 'Pending'],
    ['the guest powered itself off', 'OnFailure', poweredOff, 'GuestPoweredOff', 'Stopped'],
    ['the guest powered itself off', 'Never', poweredOff, 'GuestPoweredOff', 'Stopped'],
    ['QEMU failed', 'Always', crashed, 'QemuFailed', 'Pending'],
    ['QEMU failed', 'OnFailure', crashed, 'QemuFailed', 'Pending'],
    ['QEMU failed', 'Never', crashed, 'QemuFailed', 'Failed'],
    ['its pod was deleted', 'Always', deleted, 'PodDeleted', 'Pending'],
    ['its pod was deleted', 'OnFailure', deleted, 'PodDeleted', 'Pending'],
    ['its pod was deleted', 'Never', deleted, 'PodDeleted', 'Stopped'],
    ['its node gave the pod up', 'OnFailure', evicted, 'PodEvicted', 'Pending'],
    ['its node gave the pod up', 'Never', evicted, 'PodEvicted', 'Stopped'],
    ['its node gave the pod up and forgot it', 'OnFailure', forgotten, 'PodEvicted', 'Pending'],
  ])('%s, restart policy %s', (_, restartPolicy, pod, reason, phase) => {
    const given: Given = { ...running, spec: { restartPolicy }, pods: [pod] };
    const result = step(given);
    expect(result.status).toMatchObject({
      phase,
      placement: { generation: 1 },
      lastEnd: { reason, podName: 'web-1', at: at(0) },
    });
    expect(result.status.placement).not.toHaveProperty('podName');
    expect(acts(result)).toEqual(['releasePod web-1']);
    expect(told(result)).toEqual([reason]);

    const later = step({ ...given, pods: [], status: result.status, now: 3_600_000 });
    expect(acts(later)).toEqual(phase === 'Pending' ? ['createPod web-2'] : []);
    if (phase !== 'Pending') expect(later.status).toEqual(result.status);
  });

  test("QEMU's own message is kept, with its exit code", () => {
    expect(step({ ...running, pods: [crashed] }).status.lastEnd).toMatchObject({
      exitCode: 1,
      message: 'QEMU on node-a ended with exit code 1: qemu: no such file',
    });
  });

  test('each restart is counted, told and follows later than the one before, up to 5 minutes', () => {
    const waits: number[] = [];
    let status: Status = { ...running.status };
    for (let round = 1; round <= 11; round++) {
      const pod = aPod({ name: `web-${round}`, uid: `pod-${round}`, container: ended(1) });
      const down = step({
        status: { ...status, placement: { generation: round, podName: pod.name, podUID: pod.uid } },
        pods: [pod],
      });
      const wait = down.lookAgainAfter ?? 0;
      waits.push(wait / 1_000);
      expect(acts(step({ status: down.status, now: wait - 1 }))).toEqual([]);
      const up = step({ status: down.status, now: wait });
      expect(acts(up)).toEqual([`createPod web-${round + 1}`]);
      expect(told(up)).toEqual(['Restarting']);
      expect(up.status.restarts).toBe(round);
      status = up.status;
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
  });

  test('after a long run the back-off begins anew', () => {
    const pod = aPod({ container: ended(1, { ranMilliseconds: 600_000 }) });
    const result = step({ pods: [pod], status: { placement, restarts: 9 } });
    expect(result.status.restarts).toBe(0);
    expect(result.lookAgainAfter).toBe(1_000);
  });

  test('a stamp from a fast clock does not prolong the wait', () => {
    const lastEnd = { podName: 'web-1', reason: 'QemuFailed', at: at(3_600_000) };
    expect(step({ status: { placement: { generation: 1 }, restarts: 0, lastEnd } }).lookAgainAfter).toBe(1_000);
  });

  test('a guest that was asked to power down and is wanted again is started at once, whatever the policy', () => {
    const status = { ...running.status, guest: { ...guest, powerDownRequestedAt: at(-1_000) } };
    const result = step({ status, pods: [poweredOff], spec: { restartPolicy: 'Never' } });
    expect(acts(result)).toEqual(['releasePod web-1', 'createPod web-2']);
    expect(result.status.restarts).toBeUndefined();
  });

  test('a guest that was powered down because somebody deleted its pod is restarted by policy', () => {
    const status = { ...running.status, guest: { ...guest, powerDownRequestedAt: at(-1_000) } };
    const pods = [aPod({ container: ended(0), deleting: true })];
    expect(step({ status, pods, spec: { restartPolicy: 'Never' } }).status).toMatchObject({
      phase: 'Stopped',
      lastEnd: { reason: 'PodDeleted' },
    });
  });

  test('a VM left down by its policy starts again after it was told to stop', () => {
    const down = step({ ...running, pods: [poweredOff], spec: { restartPolicy: 'Never' } });
    const stopped = step({ status: down.status, spec: { restartPolicy: 'Never', powerState: 'Stopped' } });
    expect(stopped.status.phase).toBe('Stopped');
    expect(acts(step({ status: stopped.status, spec: { restartPolicy: 'Never' } }))).toEqual(['createPod web-2']);
  });

  test('a pod deleted from outside is waited for, then its VM is restarted', () => {
    const pending = step({ ...running, pods: [aPod({ deleting: true, guestRunning: true })] });
    expect(acts(pending)).toEqual([]);
    expect(pending.status).toMatchObject({ phase: 'Stopping', placement });
  });

  test('a pod deleted before it was ever bound is replaced at once, and is no end of the VM', () => {
    const result = step({
      status: { placement: { generation: 1, podName: 'web-1', podUID: 'pod-1' } },
      pods: [aNewPod({ deleting: true })],
      spec: { restartPolicy: 'Never' },
    });
    expect(acts(result)).toEqual(['releasePod web-1', 'createPod web-2']);
    expect(result.status).not.toHaveProperty('lastEnd');
  });
});

describe('stop and delete', () => {
  const stop: Given = { ...running, spec: { powerState: 'Stopped', terminationGracePeriodSeconds: 20 } };
  const remove: Given = {
    ...running,
    spec: { terminationGracePeriodSeconds: 20 },
    metadata: { deletionTimestamp: at(0) },
  };

  test.each([
    ['stop', stop],
    ['delete', remove],
  ])('%s: the agent powers the guest down; its pod is deleted only when that takes too long', (_, given) => {
    const first = step(given);
    expect(acts(first)).toEqual([]);
    expect(first.status.phase).toBe('Stopping');
    expect(condition(first, 'Stopping')).toMatchObject({ status: 'True', lastTransitionTime: at(0) });
    expect(first.lookAgainAfter).toBe(35_000);
    const waiting = step({ ...given, status: first.status, now: 34_999 });
    expect(waiting).toEqual({ status: first.status, effects: [], lookAgainAfter: 1 });
    const late = step({ ...given, status: first.status, now: 35_000 });
    expect(acts(late)).toEqual(['deletePod web-1']);
    expect(told(late)).toEqual(['AgentSilent']);
    const deleted = step({
      ...given,
      status: first.status,
      now: 35_001,
      pods: [aPod({ deleting: true, guestRunning: true })],
    });
    expect(deleted.effects).toEqual([]);
  });

  test('a stopped VM has no pods, and stays', () => {
    const result = step({ ...stop, pods: [aPod({ container: ended(0) })] });
    expect(acts(result)).toEqual(['releasePod web-1']);
    expect(result.status).toMatchObject({ phase: 'Stopped', lastEnd: { reason: 'StoppedOnRequest' } });
    expect(condition(result, 'Stopping')).toBeUndefined();
    expect(result.status.restarts).toBeUndefined();
    expect(again({ ...stop, pods: [], status: result.status }).effects).toEqual([]);
  });

  test.each<[string, PodFacts]>([
    ['not been bound', aNewPod()],
    ['not started its container', aPod({ container: { state: 'waiting', message: 'ImagePullBackOff' } })],
  ])('a pod that has %s has no guest to power down and is deleted at once', (_, pod) => {
    expect(acts(step({ ...stop, status: { placement }, pods: [pod] }))).toEqual(['deletePod web-1']);
    expect(
      acts(step({ ...stop, status: { placement }, pods: [{ ...pod, deleting: true }] })).filter((act) =>
        act.startsWith('delete'),
      ),
    ).toEqual([]);
  });

  test('a VM stopped before its pod was created gives its placement up', () => {
    const result = step({ ...stop, status: { placement: { generation: 1, podName: 'web-1' } }, pods: [] });
    expect(result.status).toMatchObject({ phase: 'Stopped', placement: { generation: 1 } });
    expect(acts(result)).toEqual([]);
  });

  test('a VM goes when its last pod has been released', () => {
    const over = aPod({ container: ended(0) });
    const first = step({ ...remove, pods: [over] });
    expect(acts(first)).toEqual(['releasePod web-1']);
    expect(acts(step({ ...remove, status: first.status, pods: [{ ...over, held: false, deleting: true }] }))).toEqual([
      'removeFinalizer',
    ]);
    expect(acts(step({ ...remove, status: first.status, pods: [] }))).toEqual(['removeFinalizer']);
    expect(
      acts(step({ ...remove, status: first.status, pods: [], metadata: { deletionTimestamp: at(0), finalizers: [] } })),
    ).toEqual([]);
  });

  test('a VM does not go while a QEMU of it may run', () => {
    const lost = aPod({ name: 'web-m-1', uid: 'lost', role: 'target', migrationUID: 'm' });
    const result = step({ ...remove, status: { placement: { generation: 1 } }, pods: [lost] });
    expect(acts(result)).toEqual([]);
    expect(result.status.phase).toBe('Stopping');
    expect(acts(step({ ...remove, pods: [] }))).toEqual([]);
  });

  test('wanted again before it has ended, the VM is followed again', () => {
    const stoppingStatus = step(stop).status;
    const result = step({ ...running, status: stoppingStatus });
    expect(result.status.phase).toBe('Running');
    expect(condition(result, 'Stopping')).toBeUndefined();
  });
});

describe('an end that only an operator can prove', () => {
  const silent = aPod({ nodeReady: false, guestRunning: true });
  const fenced = { ...silent, fenced: 'node node-a is out of service' };
  const annotate = (uid: string) => ({ annotations: { 'vmferry.io/fenced': uid } });
  const commands = ['kubectl taint node node-a', 'kubectl annotate vm web -n default --overwrite vmferry.io/fenced='];

  test.each<[string, Given, string, string]>([
    ['its node is not ready', { pods: [silent] }, 'Running', 'NodeNotReady'],
    ['… and its pod is deleted', { pods: [{ ...silent, deleting: true }] }, 'Stopping', 'PodDeleted'],
    ['… and it is to stop', { pods: [silent], spec: { powerState: 'Stopped' } }, 'Stopping', 'Stopping'],
    ['its node has lost track of it', { pods: [aPod({ container: { state: 'lost' } })] }, 'Failed', 'ContainerLost'],
    [
      'its node has rejected its pod',
      { pods: [aPod({ container: { state: 'unreported' }, rejection: 'OutOfcpu' })] },
      'Failed',
      'PodRejected',
    ],
    ['its pod was removed by force', { pods: [] }, 'Failed', 'PodVanished'],
  ])('%s: the VM stays, and what would settle it is told', (_, given, phase, reason) => {
    const result = step({ ...running, ...given, now: 7_000 });
    expect(result.status).toMatchObject({ phase, placement });
    expect(acts(result).filter((act) => act.startsWith('create') || act.startsWith('release'))).toEqual([]);
    expect(condition(result, 'Ready')).toMatchObject({ reason, status: reason === 'Stopping' ? 'False' : 'Unknown' });
    for (const command of commands) expect(result.status.message).toContain(command);
    expect(result.status.message).toContain('vmferry.io/fenced=pod-1');
  });

  test('an earlier pod on a node that is not ready keeps the VM from starting, and what would settle it is told', () => {
    const old = { ...silent, name: 'web-0', uid: 'old' };
    expect(step({ pods: [old] }).status.message).toContain('vmferry.io/fenced=old');
    expect(step({ pods: [{ ...old, nodeReady: true }] }).status.message).not.toContain('kubectl');
    expect(acts(step({ pods: [{ ...old, fenced: 'it is' }] }))).toEqual(['releasePod web-0', 'createPod web-1']);
  });

  test.each<['Always' | 'OnFailure' | 'Never', string]>([
    ['Always', 'Pending'],
    ['OnFailure', 'Pending'],
    ['Never', 'Failed'],
  ])('fenced, it has ended as by a failure: restart policy %s', (restartPolicy, phase) => {
    const given: Given = { ...running, spec: { restartPolicy } };
    const message = 'The QEMU of pod web-1 counts as ended: node node-a is out of service.';
    // Kubernetes deletes the pods of a node that is out of service.
    const result = step({ ...given, pods: [{ ...fenced, deleting: true }] });
    expect(result.status).toMatchObject({ phase, lastEnd: { podName: 'web-1', reason: 'NodeFenced', message } });
    expect(result.status.lastEnd).not.toHaveProperty('exitCode');
    expect(result.effects.filter(({ kind }) => kind === 'releasePod')).toEqual([
      { kind: 'releasePod', pod: { name: 'web-1', uid: 'pod-1', resourceVersion: '10' }, force: true },
    ]);
    expect(told(result)).toEqual(['NodeFenced']);
    const later = step({ ...given, pods: [], status: result.status, now: 3_600_000 });
    expect(acts(later)).toEqual(phase === 'Pending' ? ['createPod web-2'] : []);

    const vanished = step({ ...given, pods: [], placementFenced: 'node node-a is out of service' });
    expect(vanished.status).toEqual(result.status);
    expect(told(vanished)).toEqual(['NodeFenced']);
  });

  test('what its node has reported is the truth, and its pod is not taken from it', () => {
    const result = step({ ...running, pods: [{ ...fenced, container: ended(0) }] });
    expect(result.status.lastEnd).toMatchObject({ reason: 'GuestPoweredOff', exitCode: 0 });
    expect(result.effects).toContainEqual(expect.objectContaining({ kind: 'releasePod', force: false }));
  });

  test.each<[string, Given]>([
    ['stopped', { spec: { powerState: 'Stopped' } }],
    ['deleted', { metadata: { deletionTimestamp: at(0) } }],
  ])('a VM that is to be %s is, once its pod is fenced', (_, given) => {
    for (const evidence of [{ pods: [fenced] }, { pods: [], placementFenced: 'it is' }]) {
      const result = step({ ...running, ...given, ...evidence });
      expect(result.status).toMatchObject({ phase: 'Stopped', lastEnd: { reason: 'StoppedOnRequest' } });
      expect(acts(step({ ...running, ...given, status: result.status, pods: [] }))).toEqual(
        given.metadata === undefined ? [] : ['removeFinalizer'],
      );
    }
  });

  test('an annotation that counts is remembered, and nothing is said of it after the pod is gone', () => {
    const given: Given = { ...running, metadata: annotate('pod-1') };
    const result = step({ ...given, pods: [fenced] });
    expect(condition(result, 'FenceAccepted')).toMatchObject({ status: 'True', reason: 'PodFenced' });
    const later = step({ ...given, pods: [], status: result.status, now: 1_000 });
    expect(acts(later)).toEqual(['createPod web-2']);
    expect(told(later)).not.toContain('FenceRefused');
    expect(condition(later, 'FenceAccepted')).toEqual(condition(result, 'FenceAccepted'));
    const removed = step({ ...running, pods: [], status: later.status });
    expect(condition(removed, 'FenceAccepted')).toBeUndefined();
  });

  test.each<[string, Given, string]>([
    ['of a pod that waits', { pods: [silent] }, 'it could be pod-1 (web-1)'],
    ['of a pod that was removed by force', { pods: [] }, 'it could be pod-1 (web-1)'],
    [
      'of an earlier pod that waits',
      { pods: [aPod(), { ...silent, name: 'web-0', uid: 'old' }] },
      'it could be old (web-0)',
    ],
    ['when none waits', { pods: [aPod()] }, 'this VM has none'],
  ])('a UID that is not that %s is refused, once', (_, pods, note) => {
    const given: Given = { ...running, ...pods, metadata: annotate('typo') };
    const result = step(given);
    expect(result.effects).toContainEqual({
      kind: 'tell',
      type: 'Warning',
      reason: 'FenceRefused',
      note: expect.stringContaining(note),
    });
    expect(condition(result, 'FenceAccepted')).toMatchObject({ status: 'False', reason: 'FenceRefused' });
    expect(acts(result).filter((act) => !act.startsWith('reportGuestRunning'))).toEqual([]);
    const again = step({ ...given, status: result.status, now: 60_000 });
    expect(told(again)).toEqual([]);
    expect(again.status).toEqual(result.status);
    expect(told(step({ ...given, status: result.status, metadata: annotate('another') }))).toEqual(['FenceRefused']);
  });

  test('the UID of a pod on which its node reports is refused until that node is not ready', () => {
    const given: Given = { ...running, metadata: annotate('pod-1') };
    const refused = step(given);
    expect(condition(refused, 'FenceAccepted')?.message).toContain('make sure that the node is off');
    const accepted = step({ ...given, status: refused.status, pods: [fenced] });
    expect(accepted.status.lastEnd?.reason).toBe('NodeFenced');
    expect(condition(accepted, 'FenceAccepted')?.status).toBe('True');
  });

  test('while a migration holds the lock, an annotation is answered and nothing is done', () => {
    const status = { ...running.status, migration: { name: 'web-1', uid: 'm' } };
    const result = step({ status, pods: [fenced], metadata: annotate('pod-1') });
    expect(result.effects).toEqual([]);
    expect(condition(result, 'FenceAccepted')?.status).toBe('True');
    expect(told(step({ status, pods: [silent], metadata: annotate('typo') }))).toEqual(['FenceRefused']);
    const fencedTarget = { name: 'web-m-1', uid: 'removed' };
    const removed = step({ status, pods: [aPod()], metadata: annotate('removed'), fencedTarget });
    expect(condition(removed, 'FenceAccepted')).toMatchObject({
      status: 'True',
      message: 'removed is pod web-m-1, whose QEMU counts as ended.',
    });
  });
});

describe('while a migration holds the lock', () => {
  const migration = { name: 'web-1', uid: 'm' };
  const locked: Given = { ...running, status: { ...running.status, migration } };
  const source = aPod({ guestRunning: true });
  const target = aPod({ name: 'web-m-1', uid: 'target', role: 'target', migrationUID: 'm', nodeName: 'node-b' });

  test.each<[string, Given]>([
    ['the VM is stopped', { spec: { powerState: 'Stopped' } }],
    ['the VM is deleted', { metadata: { deletionTimestamp: at(0) } }],
    ['the source ends', { pods: [aPod({ container: ended(1) }), target] }],
    ['the source pod is deleted', { pods: [aPod({ deleting: true }), target] }],
    ['a pod is left over', { pods: [source, target, aNewPod({ name: 'web-0', uid: 'old' })] }],
    ['nobody owns the VM', { status: { migration, placement: { generation: 1 } }, pods: [] }],
  ])('nothing is done when %s', (_, given) => {
    const result = step({ ...locked, ...given });
    expect(result.effects).toEqual([]);
    expect(result.status).toMatchObject({ phase: 'Migrating', migration });
  });

  test("the guest's short stop changes neither Ready nor the pod's gate", () => {
    const before = step(running).status;
    const stands = { ...before, migration, guest: { ...guest, running: false, runState: 'postmigrate' } };
    const result = step({ status: stands, pods: [source, target] });
    expect(result.effects).toEqual([]);
    expect(condition(result, 'Ready')).toMatchObject({ status: 'True' });
  });

  test('the new owner is told to be ready as soon as its guest runs', () => {
    const status = {
      migration,
      placement: { ...placement, podName: 'web-m-1', podUID: 'target' },
      guest: { ...guest, podUID: 'target' },
    };
    expect(acts(step({ status, pods: [source, target] }))).toEqual(['reportGuestRunning web-m-1 true']);
  });

  test('a lock of a migration that is gone is released only when none of its pods is left', () => {
    const orphaned = { ...locked, lockHolderExists: false };
    expect(step({ ...orphaned, pods: [source, target] }).status.migration).toEqual(migration);
    const released = step({ ...orphaned, pods: [source] });
    expect(released.status.migration).toBeUndefined();
    expect(released.effects).toEqual([]);
  });

  test('a pod of a migration that is gone is let go when its QEMU is, and not before', () => {
    const ended = {
      ...target,
      container: { state: 'terminated', exitCode: 0, message: '', ranMilliseconds: 1 },
    } as const;
    const orphaned = { ...locked, lockHolderExists: false };
    expect(acts(step({ ...orphaned, pods: [source, ended] }))).toEqual(['releasePod web-m-1']);
    expect(acts(step({ ...orphaned, pods: [source, target] }))).toEqual([]);
    expect(acts(step({ ...locked, pods: [source, ended] }))).toEqual([]);
  });

  test('a target that was never placed goes with its migration, and with it the lock', () => {
    const { nodeName: _, ...unplaced } = { ...target, container: { state: 'unreported' } as const };
    const orphaned = { ...locked, lockHolderExists: false };
    expect(acts(step({ ...orphaned, pods: [source, unplaced] }))).toEqual(['deletePod web-m-1']);
    expect(acts(step({ ...orphaned, pods: [source, { ...unplaced, migrationUID: 'another' }] }))).toEqual([]);
    expect(acts(step({ ...locked, pods: [source, unplaced] }))).toEqual([]);
    const going = step({ ...orphaned, pods: [source, { ...unplaced, deleting: true }] });
    expect(acts(going)).toEqual(['releasePod web-m-1']);
    expect(step({ ...orphaned, pods: [source] }).status.migration).toBeUndefined();
  });

  test('what a migration that is gone has left is told, and what settles it when its node is silent', () => {
    const told = (pod: Partial<PodFacts>) =>
      step({ ...locked, lockHolderExists: false, pods: [source, { ...target, ...pod }] }).status.message;
    const waits =
      'vmm/web-1 was removed by force while it had the VM. The VM waits for the end of the pod that it made, web-m-1 on node-b, as its node reports it.';
    expect(told({})).toBe(waits);
    const silent = told({ nodeReady: false });
    expect(silent).toContain(waits);
    expect(silent).toContain('vmferry.io/fenced=target');
  });

  test("the owner's own pod does not keep an orphaned lock, although that migration made it", () => {
    const status = { migration, placement: { ...placement, podUID: 'target' } };
    const facts = theFacts({ virtualMachine: aVirtualMachine({ status }), pods: [target], lockHolderExists: false });
    expect(orphanedLockIsHarmless(facts, migration)).toBe(true);
    expect(orphanedLockIsHarmless({ ...facts, lockHolderExists: true }, migration)).toBe(false);
  });
});
