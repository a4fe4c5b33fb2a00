/**
 * What the controller does next with one VM. The placement in its status says which pod may run it; every start is a move of the
 * placement, saved by compare-and-swap before anything is created, and needs every older pod gone. While a migration holds the
 * lock nothing is created, ended or powered here.
 */
import { finalizers } from '../../api/labels.ts';
import { lockedBy } from '../lock.ts';
import { isGone, lacksEvidence } from '../pod-evidence.ts';
import type { VirtualMachineEffect } from './effects.ts';
import { referenceTo } from './effects.ts';
import {
  backoffLeft,
  describeEnd,
  describeFence,
  type EndReason,
  endReason,
  isFault,
  restartsAfter,
  sequel,
} from './ending.ts';
import type { PodFacts, Status, VirtualMachineFacts } from './facts.ts';
import { answerFence } from './fence-annotation.ts';
import { standingOf } from './guest-standing.ts';
import { clearAway, readinessGates } from './pod-upkeep.ts';
import { keptTail, longestMessage, report, type Standing, stoppingSince } from './report.ts';
import { unprovenEnd, vanishedPod, waitsFor } from './unproven-end.ts';

export interface VirtualMachineStep {
  /** The whole status; equal to the one before when nothing is to be written. */
  readonly status: Status;
  /** To be carried out in order, once the status is saved. */
  readonly effects: readonly VirtualMachineEffect[];
  /** Milliseconds after which time alone may change the decision. */
  readonly lookAgainAfter?: number;
}

/** How long the agent may take beyond the guest's grace period before the pod is deleted, so that the kubelet ends it. */
const agentSlackMilliseconds = 15_000;

interface Scene {
  readonly facts: VirtualMachineFacts;
  /** As decided so far in this step. */
  readonly status: Status;
  readonly stopWanted: boolean;
  /** The placement's pod, and every other. */
  readonly pod: PodFacts | undefined;
  readonly others: readonly PodFacts[];
}

interface Decision {
  readonly status: Status;
  readonly effects: readonly VirtualMachineEffect[];
  /** What people are told; absent, what they were told before stays. */
  readonly standing?: Standing;
  readonly lookAgainAfter?: number;
}

export function virtualMachineStep(facts: VirtualMachineFacts): VirtualMachineStep {
  const { metadata, spec, status = {} } = facts.virtualMachine;
  const deleting = metadata.deletionTimestamp !== undefined;
  if (!metadata.finalizers?.includes(finalizers.virtualMachine)) {
    return { status, effects: deleting ? [] : [{ kind: 'addFinalizer' }] };
  }
  const others = unplaced(facts, status);
  const pod = facts.pods.find((candidate) => !others.includes(candidate));
  const scene = { facts, status, stopWanted: deleting || spec.powerState === 'Stopped', pod, others };
  const decision = decide(scene);
  // A migration sees to its pods itself, unless it is gone: then they hold its lock until they are let go.
  const isMigrating = status.migration !== undefined && facts.lockHolderExists;
  const unneeded = isMigrating ? [] : unplaced(facts, decision.status);
  const effects = [
    ...unneeded.flatMap((left) => clearAway(left, status.migration?.uid)),
    ...decision.effects,
    ...readinessGates(facts.virtualMachine, pod, others),
  ];
  const told = decision.standing === undefined ? decision.status : report(facts, decision.status, decision.standing);
  const fence = answerFence(facts, told);
  return {
    status: fence.status,
    effects: [...effects, ...fence.effects],
    ...(decision.lookAgainAfter === undefined ? {} : { lookAgainAfter: decision.lookAgainAfter }),
  };
}

/** Every pod but the one that the placement names. */
function unplaced({ pods }: VirtualMachineFacts, { placement }: Status): PodFacts[] {
  const { podName, podUID } = placement ?? {};
  return pods.filter(({ name, uid }) => name !== podName || (podUID !== undefined && uid !== podUID));
}

function decide(scene: Scene): Decision {
  const { facts, status, pod, stopWanted } = scene;
  if (status.migration !== undefined) return locked(scene, status.migration);
  const { podName, podUID, generation } = status.placement ?? { generation: 0 };
  if (podName === undefined) return down(scene);
  if (pod === undefined) {
    if (podUID !== undefined) return vanished(scene, podName);
    // The placement was saved, but its pod is not there (or not yet): create it, or give the placement up.
    return stopWanted ? down(cleared(scene)) : create(scene, podName);
  }
  // Somebody else's pod has the name that ours should have: the next generation has another.
  if (!pod.ours) return down(cleared(scene));
  const { nodeName } = pod;
  const placement = { generation, podName, podUID: pod.uid, ...(nodeName === undefined ? {} : { nodeName }) };
  const seen = { ...scene, status: { ...status, placement } };
  if (isGone(pod)) return ended(seen, pod);
  return stopWanted ? stopping(seen, pod, facts.now) : following(seen, pod);
}

/** A migration decides alone; only a lock that nobody holds any more is undone. */
function locked({ facts, status }: Scene, lock: NonNullable<Status['migration']>): Decision {
  if (orphanedLockIsHarmless(facts, lock)) {
    const { migration: _, ...unlocked } = status;
    return { status: unlocked, effects: [] };
  }
  const held = lockedBy(status, lock);
  if (facts.lockHolderExists) return { status: held, effects: [] };
  const waits = waitsFor(podsMadeBy(lock, facts), facts.virtualMachine, 'the pod that it made,');
  const message = keptTail(`vmm/${lock.name} was removed by force while it had the VM. ${waits}`, longestMessage);
  return { status: { ...held, message }, effects: [] };
}

/**
 * Whether a lock may be released without a word of its migration: the object is gone, and so is every pod it made (but for one
 * that has become the VM's own), so that nothing of it can act any more.
 */
export function orphanedLockIsHarmless(facts: VirtualMachineFacts, lock: { uid: string }): boolean {
  return !facts.lockHolderExists && podsMadeBy(lock, facts).length === 0;
}

/** But for one that has become the VM's own. */
function podsMadeBy(lock: { uid: string }, { pods, virtualMachine }: VirtualMachineFacts): PodFacts[] {
  const owner = virtualMachine.status?.placement?.podUID;
  return pods.filter(({ migrationUID, uid }) => migrationUID === lock.uid && uid !== owner);
}

/** Nobody may run the VM: let it go, leave it down, or start it. */
function down(scene: Scene): Decision {
  const { facts, status, stopWanted, others } = scene;
  const { metadata, spec } = facts.virtualMachine;
  const blocking = others.filter((pod) => !isGone(pod));
  if (stopWanted) {
    const { restarts: _, ...stopped } = status;
    if (blocking.length > 0) {
      return {
        status: stopped,
        effects: [],
        standing: { phase: 'Stopping', reason: 'OldPods', message: waitsFor(blocking, facts.virtualMachine) },
      };
    }
    const unheld = metadata.deletionTimestamp !== undefined && others.every(({ held }) => !held);
    return {
      status: stopped,
      effects: unheld ? [{ kind: 'removeFinalizer' }] : [],
      standing: { phase: 'Stopped', reason: 'Stopped', message: '' },
    };
  }
  const { restartPolicy = 'Always' } = spec;
  const next = sequel(status, restartPolicy);
  const { lastEnd, restarts = 0 } = status;
  if (next === 'StayStopped' || next === 'StayFailed') {
    const message = `${lastEnd?.message ?? ''} restartPolicy ${restartPolicy} leaves the VM down; set spec.powerState to Stopped, then to Running, to start it.`;
    const phase = next === 'StayFailed' ? 'Failed' : 'Stopped';
    return { status, effects: [], standing: { phase, reason: lastEnd?.reason ?? 'Stopped', message } };
  }
  if (blocking.length > 0) {
    return {
      status,
      effects: [],
      standing: { phase: 'Pending', reason: 'OldPods', message: waitsFor(blocking, facts.virtualMachine) },
    };
  }
  const wait = next === 'Restart' ? backoffLeft(status, facts.now) : 0;
  if (wait > 0) {
    const at = new Date(facts.now + wait).toISOString();
    const message = `${lastEnd?.message ?? ''} Restart ${restarts + 1} follows at ${at}.`;
    return { status, effects: [], standing: { phase: 'Pending', reason: 'BackOff', message }, lookAgainAfter: wait };
  }
  return start(scene, next === 'Restart' ? restarts + 1 : undefined);
}

function start(scene: Scene, restart: number | undefined): Decision {
  const { facts, status } = scene;
  const generation = (status.placement?.generation ?? 0) + 1;
  const podName = `${facts.virtualMachine.metadata.name}-${generation}`;
  const counted = restart === undefined ? status : { ...status, restarts: restart };
  const placed = { ...counted, placement: { generation, podName }, hardware: facts.hardware };
  const created = create({ ...scene, status: placed }, podName);
  const tell: VirtualMachineEffect =
    restart === undefined
      ? { kind: 'tell', type: 'Normal', reason: 'Starting', note: `Starting in pod ${podName}` }
      : { kind: 'tell', type: 'Normal', reason: 'Restarting', note: `Restart ${restart} in pod ${podName}` };
  return { ...created, effects: [...created.effects, tell] };
}

function create({ facts, status, others }: Scene, podName: string): Decision {
  const blocking = others.filter((pod) => !isGone(pod));
  if (blocking.length > 0) {
    return {
      status,
      effects: [],
      standing: { phase: 'Pending', reason: 'OldPods', message: waitsFor(blocking, facts.virtualMachine) },
    };
  }
  const { hardware = facts.hardware } = status;
  const paused = facts.virtualMachine.spec.powerState === 'Paused';
  return {
    status,
    effects: [{ kind: 'createPod', podName, hardware, paused }],
    standing: { phase: 'Pending', reason: 'Scheduling', message: `Pod ${podName} is being placed.` },
  };
}

/** The object is gone although our finalizer held it: somebody removed that, and only an operator can prove that QEMU ended. */
function vanished(scene: Scene, podName: string): Decision {
  const { facts, status, stopWanted } = scene;
  const { podUID: uid = '', nodeName } = status.placement ?? {};
  if (facts.placementFenced !== undefined) {
    const reason = stopWanted ? 'StoppedOnRequest' : 'NodeFenced';
    return over(scene, { podName, reason, message: describeFence(podName, facts.placementFenced) });
  }
  const message = vanishedPod({ name: podName, uid, nodeName }, facts.virtualMachine);
  return { status, effects: [], standing: { phase: 'Failed', reason: 'PodVanished', message, ready: 'Unknown' } };
}

/** Nobody may run the VM until the next start; what was the placement's pod is one of the others now. */
function cleared(scene: Scene): Scene {
  const { status, pod, others } = scene;
  const placement = { generation: status.placement?.generation ?? 0 };
  const former = pod?.ours ? [pod] : [];
  return { ...scene, status: { ...status, placement }, pod: undefined, others: [...others, ...former] };
}

function ended(scene: Scene, pod: PodFacts): Decision {
  // A pod that never had a QEMU is no end of the VM: the restart policy has nothing to say.
  if (pod.nodeName === undefined && pod.container.state !== 'terminated') return down(cleared(scene));
  const reason = endReason(pod, scene.facts.virtualMachine, scene.stopWanted);
  const exit = pod.container.state === 'terminated' ? { exitCode: pod.container.exitCode } : {};
  return over(scene, { podName: pod.name, reason, message: describeEnd(reason, pod), ...exit });
}

interface End {
  readonly podName: string;
  readonly reason: EndReason;
  readonly exitCode?: number;
  readonly message: string;
}

/** The placement's QEMU has ended: that is noted and told, and then the VM is down. */
function over(scene: Scene, end: End): Decision {
  const free = cleared(scene);
  const message = keptTail(end.message, longestMessage);
  const lastEnd = { ...end, message, at: new Date(scene.facts.now).toISOString() };
  const { restarts: before, ...status } = free.status;
  const restarts = restartsAfter(end.reason, scene.pod, before);
  const after = down({ ...free, status: { ...status, lastEnd, ...(restarts === undefined ? {} : { restarts }) } });
  const type = isFault(end.reason) ? 'Warning' : 'Normal';
  return { ...after, effects: [{ kind: 'tell', type, reason: end.reason, note: message }, ...after.effects] };
}

/** The agent on the node powers the guest down; the controller sees it end, and has the kubelet end a pod whose agent does not. */
function stopping({ facts, status }: Scene, pod: PodFacts, now: number): Decision {
  const grace = (facts.virtualMachine.spec.terminationGracePeriodSeconds ?? 30) * 1_000;
  const since = stoppingSince(status) ?? now;
  const reference = referenceTo(pod);
  const unproven = lacksEvidence(pod) ? unprovenEnd(pod, facts.virtualMachine) : undefined;
  if (pod.nodeName === undefined || pod.container.state !== 'running') {
    const message = unproven ?? `Pod ${pod.name} is being deleted; its guest does not run.`;
    return {
      status,
      effects: pod.deleting ? [] : [{ kind: 'deletePod', pod: reference, unchanged: pod.nodeName === undefined }],
      standing: { phase: 'Stopping', reason: 'Stopping', message },
    };
  }
  const wait = since + grace + agentSlackMilliseconds - now;
  const until = new Date(since + grace).toISOString();
  const standing: Standing = {
    phase: 'Stopping',
    reason: 'Stopping',
    message: unproven ?? `The guest on ${pod.nodeName} is powered down, and ended at ${until} if it has not by then.`,
  };
  if (pod.deleting) return { status, effects: [], standing };
  if (wait > 0) return { status, effects: [], standing, lookAgainAfter: wait };
  const note = `The agent on ${pod.nodeName} has not ended the guest in time; pod ${pod.name} is deleted so that the node does`;
  return {
    status,
    effects: [
      { kind: 'deletePod', pod: reference, unchanged: false },
      { kind: 'tell', type: 'Warning', reason: 'AgentSilent', note },
    ],
    standing,
  };
}

/** The pod is to run: let the scheduler have it once the placement names it, then tell what its guest does. */
function following({ facts, status, others }: Scene, pod: PodFacts): Decision {
  const standing = standingOf(pod, facts.virtualMachine);
  if (!pod.gated) return { status, effects: [], standing };
  const blocking = others.filter((other) => !isGone(other));
  return blocking.length === 0
    ? { status, effects: [{ kind: 'admitPod', pod: referenceTo(pod) }], standing }
    : {
        status,
        effects: [],
        standing: { phase: 'Pending', reason: 'OldPods', message: waitsFor(blocking, facts.virtualMachine) },
      };
}
