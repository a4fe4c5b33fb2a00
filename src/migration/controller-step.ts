/**
 * What the controller does next with one migration. It places, approves, moves ownership and cleans; it never decides whether
 * the guest may run here or there: that is the agents' business, and their final words are the facts it waits for.
 */
import { finalizers } from '../api/labels.ts';
import type { VirtualMachine, VirtualMachineMigration } from '../api/objects.ts';
import { isTerminal } from '../api/phases.ts';
import type { VirtualMachineMigrationStatus } from '../api/virtual-machine-migration.gen.ts';
import { sourceSide, targetSide } from './evidence.ts';
import { limits } from './limits.ts';
import { preflightFailures } from './preflight.ts';
import { Report } from './report.ts';
import type { Cause } from './source-step.ts';

/** A VM pod as the controller's cache has it. */
export type PodFacts =
  | { exists: false }
  | {
      exists: true;
      name: string;
      uid: string;
      resourceVersion: string;
      nodeName?: string;
      deleting: boolean;
      /** Our finalizer still holds the object. */
      held: boolean;
      /** Since when the scheduler says that it finds no node (milliseconds since the epoch), and its sentence. */
      unschedulable?: { since: number; message: string };
      /** Set by the kubelet or the node runtime for exactly this pod; the only proof that its QEMU has ended. */
      terminated?: { exitCode: number; message?: string };
      running: boolean;
    };

type ExistingPod = Extract<PodFacts, { exists: true }>;

export interface ControllerFacts {
  /** Milliseconds since the epoch. */
  now: number;
  migration: VirtualMachineMigration;
  virtualMachine: VirtualMachine | undefined;
  /** The pod that owned the VM when the migration began, or owns it now if it has not begun. */
  sourcePod: PodFacts;
  /** The pod that this attempt has created. */
  targetPod: PodFacts;
}

export type ControllerEffect =
  | { kind: 'addFinalizer' }
  | { kind: 'lockVirtualMachine' }
  | { kind: 'createTargetPod'; attempt: number; avoidNode: string }
  /** By compare-and-swap on the VirtualMachine; from the source pod to the target pod. */
  | { kind: 'moveOwnership'; fromPodUID: string; to: { nodeName: string; podName: string; podUID: string } }
  /** Preconditions: UID and resourceVersion, so that a pod that has changed meanwhile is judged again. */
  | { kind: 'deletePod'; pod: { name: string; uid: string; resourceVersion: string } }
  /** Only for a pod whose QEMU is proven gone, or that was never placed on a node. */
  | { kind: 'releasePod'; pod: { name: string; uid: string; resourceVersion: string } }
  | { kind: 'unlockVirtualMachine'; result: 'Succeeded' | 'Failed' | 'Cancelled' }
  | { kind: 'removeFinalizer' };

export interface ControllerStep {
  status: VirtualMachineMigration['status'];
  effects: ControllerEffect[];
  lookAgainAfter?: number;
}

export function controllerStep(facts: ControllerFacts): ControllerStep {
  const report = new Report(facts.migration, facts.now);
  const result = decide(facts, report);
  return { ...result, status: report.status() };
}

type Decision = Omit<ControllerStep, 'status'>;
const nothing: Decision = { effects: [] };
const one = (effect: ControllerEffect): Decision => ({ effects: [effect] });

function decide(facts: ControllerFacts, report: Report): Decision {
  const { migration } = facts;
  const hasFinalizer = migration.metadata.finalizers?.includes(finalizers.migration) ?? false;
  const deleting = migration.metadata.deletionTimestamp !== undefined;
  if (!hasFinalizer) return deleting || isTerminal(migration.status?.phase) ? nothing : one({ kind: 'addFinalizer' });
  if (isTerminal(migration.status?.phase)) return settle(facts, report, deleting);
  if (migration.status?.sourcePod === undefined) return accept(facts, report, deleting);
  return follow(facts, report, deleting);
}

/** Nothing has been touched yet: refuse, wait, or take the lock and begin. */
function accept(facts: ControllerFacts, report: Report, deleting: boolean): Decision {
  const { migration, virtualMachine: vm, sourcePod } = facts;
  const vmName = `vm/${migration.spec.virtualMachineName}`;
  if (deleting || migration.spec.cancel) {
    return report.end('Cancelled', {
      reason: 'Cancelled',
      message: `Cancelled before anything was done. ${runsWhere(facts)}`,
    });
  }
  if (vm === undefined) {
    const message = `${vmName} does not exist in namespace ${migration.metadata.namespace}. Create it, then create another migration.`;
    return report.end('Failed', { reason: 'VirtualMachineNotFound', message });
  }
  if (vm.metadata.deletionTimestamp !== undefined) {
    return report.end('Failed', { reason: 'VirtualMachineDeleted', message: `${vmName} is being deleted.` });
  }
  if (vm.spec.powerState === 'Stopped') {
    const message = `${vmName} is stopped; only a running or paused VM can be migrated. Start it, then create another migration.`;
    return report.end('Failed', { reason: 'VirtualMachineNotRunning', message });
  }
  const lock = vm.status?.migration;
  if (lock !== undefined && lock.uid !== migration.metadata.uid) {
    const message = `vmm/${lock.name} works on ${vmName}; this one starts when it has ended. ${runsWhere(facts)}`;
    return report.phase('Pending', { reason: 'WaitingForOtherMigration', message });
  }
  const placement = vm.status?.placement;
  const runs = sourcePod.exists && sourcePod.running;
  // With the lock held the VM waits for this migration, also to be started again: it goes on, and finds out what became of it.
  if (placement?.podUID === undefined || placement.nodeName === undefined || (lock === undefined && !runs)) {
    const message = `${vmName} does not run yet; the migration begins when it does.`;
    return report.phase('Pending', { reason: 'WaitingForVirtualMachine', message });
  }
  if (migration.spec.target?.nodeName === placement.nodeName) {
    const message = `${vmName} already runs on ${placement.nodeName}: there is nothing to do.`;
    return report.end('Failed', { reason: 'AlreadyOnTargetNode', message });
  }
  if (lock === undefined) return one({ kind: 'lockVirtualMachine' });
  report.begin({ node: placement.nodeName, pod: { name: placement.podName ?? '', uid: placement.podUID } });
  report.phase('Scheduling', { reason: 'Scheduling', message: `A target pod is being placed. ${runsWhere(facts)}` });
  return one({ kind: 'createTargetPod', attempt: 1, avoidNode: placement.nodeName });
}

/** The attempt is under way. What the agents have said comes first, then what its owner wants, then the next step forward. */
function follow(facts: ControllerFacts, report: Report, deleting: boolean): Decision {
  const { sourcePod, targetPod } = facts;
  const status = report.current;
  const source = sourceSide(status);
  const target = targetSide(status);
  report.copyDowntime(source?.downtimeMilliseconds);

  if (source?.verdict === 'Completed' && wish(facts, deleting) !== undefined) report.rejectCancel();
  if (source?.verdict === 'Completed' && (target?.verdict === 'TookOver' || target?.verdict === 'Lost')) {
    return ownershipMoves(facts, report, target.verdict);
  }
  if (source?.verdict === 'Resumed') {
    return rollBack(facts, report, {
      reason: 'TargetLost',
      message: source.message ?? 'The target QEMU ended before it had run the guest.',
    });
  }
  const sourceHasEnded = sourcePod.exists && sourcePod.terminated !== undefined;
  // Both copies are gone: the source cannot be continued any more, or has been and ended before it could say so.
  if (source?.verdict === 'Completed' && target?.verdict !== undefined && sourceHasEnded)
    return sourceEnded(facts, report);
  if (source?.verdict === 'Completed') {
    return report.phase('SwitchingOver', {
      reason: 'SwitchingOver',
      message: `The source has sent everything; the guest is being continued on ${status.targetNode}.`,
    });
  }
  if (source?.verdict === 'Aborted') {
    const cause = { reason: source.reason ?? 'TransferFailed', message: source.message ?? '' } as Cause;
    return rollBack(facts, report, cause);
  }
  // A pod object that is missing proves nothing: only the agent or the node itself can say that QEMU has ended.
  if (source?.verdict === 'Gone' || sourceHasEnded) return sourceEnded(facts, report);
  if (status.abort !== undefined) return nothing;

  const unwanted = wish(facts, deleting) ?? obstacle(facts);
  if (unwanted !== undefined) return giveUp(facts, report, unwanted);
  return forward(facts, report, targetPod);
}

/** What the owner of the VM or of the migration has come to want since it began. */
function wish(facts: ControllerFacts, deleting: boolean): Cause | undefined {
  const { migration, virtualMachine: vm } = facts;
  if (deleting) return { reason: 'Cancelled', message: 'The migration was deleted.' };
  if (migration.spec.cancel) return { reason: 'Cancelled', message: 'spec.cancel was set.' };
  if (vm?.metadata.deletionTimestamp !== undefined)
    return { reason: 'VirtualMachineDeleted', message: 'The VM is being deleted.' };
  if (vm?.spec.powerState === 'Stopped')
    return { reason: 'VirtualMachineStopped', message: 'The VM was told to stop.' };
  return undefined;
}

/** What stands in the way before the transfer has been approved. Later, only the source's agent can tell. */
function obstacle(facts: ControllerFacts): Cause | undefined {
  const { migration, targetPod, now } = facts;
  const status = migration.status ?? {};
  if (status.plan !== undefined) return undefined;
  if (!targetPod.exists) {
    return status.targetPod?.uid === undefined
      ? undefined
      : { reason: 'TargetFailed', message: `The target pod ${status.targetPod.name} was removed.` };
  }
  if (targetPod.terminated !== undefined) {
    const { exitCode, message } = targetPod.terminated;
    const said = message === undefined || message === '' ? '' : `: ${message.trim()}`;
    return {
      reason: 'TargetFailed',
      message: `The target QEMU on ${targetPod.nodeName} ended with exit code ${exitCode}${said}`,
    };
  }
  if (targetPod.deleting)
    return { reason: 'TargetFailed', message: `The target pod ${targetPod.name} is being deleted by somebody else.` };
  if (targetPod.nodeName === undefined) {
    const { unschedulable } = targetPod;
    if (unschedulable === undefined || now - unschedulable.since < limits.unschedulable) return undefined;
    return { reason: 'Unschedulable', message: `No node takes the target pod: ${unschedulable.message}` };
  }
  const target = targetSide(status);
  const source = sourceSide(status);
  if (target?.verdict !== undefined) {
    return {
      reason: 'TargetFailed',
      message: `The target QEMU on ${targetPod.nodeName} ended: ${target.message ?? 'it gave no reason'}`,
    };
  }
  if (target?.preflight !== undefined && source?.preflight !== undefined) {
    const failures = preflightFailures({ source: source.preflight, target: target.preflight });
    if (failures.length > 0) return { reason: 'PreflightFailed', message: failures.join(' ') };
  }
  const placedAt = status.timeline?.find((entry) => entry.phase === 'Checking')?.at;
  if (placedAt !== undefined && now - Date.parse(placedAt) > limits.targetReady) {
    const missing = [
      ...(source?.preflight === undefined ? [`the agent on ${status.sourceNode} has not answered`] : []),
      ...(target?.endpoint === undefined ? [`the agent on ${targetPod.nodeName} has not made the target ready`] : []),
    ].join(', and ');
    return { reason: 'TargetNotReady', message: `After ${limits.targetReady / 1000} s ${missing}.` };
  }
  return undefined;
}

function giveUp(facts: ControllerFacts, report: Report, cause: Cause): Decision {
  if (cause.reason === 'PreflightFailed') report.condition('PreflightPassed', 'False', cause.reason, cause.message);
  report.abort(cause);
  const waiting = `The agent on ${report.current.sourceNode} has yet to confirm that the guest is back as it was.`;
  return report.phase('RollingBack', {
    reason: cause.reason,
    message: `${cause.message} ${waiting} ${runsWhere(facts)}`,
  });
}

/** Scheduling → Checking → Preparing → Transferring. */
function forward(facts: ControllerFacts, report: Report, targetPod: PodFacts): Decision {
  const { migration, now } = facts;
  const status = report.current;
  if (status.plan !== undefined) return nothing;
  if (!targetPod.exists) {
    return one({ kind: 'createTargetPod', attempt: status.attempt ?? 1, avoidNode: status.sourceNode ?? '' });
  }
  if (targetPod.nodeName === undefined) {
    const since = targetPod.unschedulable?.since;
    if (since === undefined) return nothing;
    report.phase('Scheduling', {
      reason: 'Scheduling',
      message: `No node takes the target pod yet: ${targetPod.unschedulable?.message} ${runsWhere(facts)}`,
    });
    return { effects: [], lookAgainAfter: Math.max(1, since + limits.unschedulable - now) };
  }
  report.placed({ node: targetPod.nodeName, pod: { name: targetPod.name, uid: targetPod.uid } });
  const source = sourceSide(report.current);
  const target = targetSide(report.current);
  if (source?.preflight === undefined || target?.preflight === undefined) {
    report.phase('Checking', {
      reason: 'Checking',
      message: `${status.sourceNode} and ${targetPod.nodeName} are being checked. ${runsWhere(facts)}`,
    });
    return { effects: [], lookAgainAfter: limits.targetReady };
  }
  report.condition(
    'PreflightPassed',
    'True',
    'Checked',
    `vm/${migration.spec.virtualMachineName} may move to ${targetPod.nodeName}.`,
  );
  if (target.endpoint === undefined) {
    report.phase('Preparing', {
      reason: 'Preparing',
      message: `The target QEMU on ${targetPod.nodeName} is getting ready. ${runsWhere(facts)}`,
    });
    return { effects: [], lookAgainAfter: limits.targetReady };
  }
  report.condition('TargetReady', 'True', 'Listening', `The target QEMU listens on ${targetPod.nodeName}.`);
  report.plan(target.endpoint);
  return report.phase('Transferring', {
    reason: 'Transferring',
    message: `Memory is being sent to ${targetPod.nodeName}. ${runsWhere(facts)}`,
  });
}

/** The target has run the guest (or may have): it is the VM now, whatever became of it since. */
function ownershipMoves(facts: ControllerFacts, report: Report, verdict: 'TookOver' | 'Lost'): Decision {
  const { virtualMachine: vm } = facts;
  const { sourcePod, targetPod, targetNode = '', sourceNode } = report.current;
  const placement = vm?.status?.placement;
  if (vm === undefined || placement === undefined || sourcePod?.uid === undefined || targetPod?.uid === undefined)
    return nothing;
  if (placement.podUID !== targetPod.uid) {
    const to = { nodeName: targetNode, podName: targetPod.name, podUID: targetPod.uid };
    return one({ kind: 'moveOwnership', fromPodUID: sourcePod.uid, to });
  }
  report.owner({ podUID: targetPod.uid, generation: placement.generation });
  if (verdict === 'TookOver') {
    report.moved();
    const message = `${runsWhere(facts)} It came from ${sourceNode}.`;
    return report.end('Succeeded', { reason: 'Migrated', message });
  }
  const message =
    `The QEMU on ${targetNode} ended after the guest had been handed over. vm/${vm.metadata.name} is down: it is not continued from older ` +
    `memory, but started again from its disks if its restartPolicy (${vm.spec.restartPolicy}) says so.`;
  return report.end('Failed', { reason: 'TargetLostAfterHandover', message });
}

/** The source's QEMU ended and had not completed: the target must not run, and the VM is down. */
function sourceEnded(facts: ControllerFacts, report: Report): Decision {
  const { virtualMachine: vm, sourcePod } = facts;
  const poweredOff = sourcePod.exists && sourcePod.terminated?.exitCode === 0 && !sourcePod.deleting;
  const cause: Cause = poweredOff
    ? { reason: 'GuestPoweredOff', message: 'The guest powered itself off while it was being migrated.' }
    : {
        reason: 'SourceLost',
        message: `The QEMU on ${report.current.sourceNode} ended while the VM was being migrated.`,
      };
  if (mayHaveTold(report.current)) {
    const message = `${cause.message} Its agent has yet to say whether the guest had been handed over.`;
    report.phase('RollingBack', { reason: cause.reason, message });
    const wait = report.phaseEnteredAt() + limits.agentSpeaks - facts.now;
    if (wait > 0) return { effects: [], lookAgainAfter: wait };
  }
  report.abort(cause, { sourceGone: true });
  const message = `${cause.message} vm/${facts.migration.spec.virtualMachineName} is down; its restartPolicy (${vm?.spec.restartPolicy}) says whether it is started again.`;
  report.phase('RollingBack', { reason: cause.reason, message });
  const { effects, cleaned, lookAgainAfter } = clean(facts.targetPod, {
    mayDelete: targetCannotRun(report.current),
    since: report.phaseEnteredAt(),
    now: facts.now,
  });
  const endSeen = !sourcePod.exists || sourcePod.terminated !== undefined;
  if (!cleaned || !endSeen) return lookAgainAfter === undefined ? { effects } : { effects, lookAgainAfter };
  report.condition('TargetCleaned', 'True', 'Gone', 'The target pod is gone.');
  return report.end('Failed', { reason: cause.reason, message });
}

/**
 * The kubelet tells that a QEMU ended, not what its agent had told before. The target's copy may be the newest there is, so it is
 * not thrown away on that word alone while the agent can still say more.
 */
function mayHaveTold(status: VirtualMachineMigrationStatus): boolean {
  return !targetCannotRun(status) && status.abort?.sourceGone !== true;
}

/** Nothing was ever sent, or the source ended without having told, or the target will not run: its agent need not answer any more. */
function targetCannotRun(status: VirtualMachineMigrationStatus): boolean {
  const verdict = targetSide(status)?.verdict;
  return (
    status.plan === undefined || sourceSide(status)?.verdict === 'Gone' || verdict === 'Refused' || verdict === 'Gone'
  );
}

/** The guest runs on at the source: remove the target, see it gone, and say so. */
function rollBack(facts: ControllerFacts, report: Report, cause: Cause): Decision {
  const cancelled = cause.reason === 'Cancelled';
  const words = lastWords(facts.targetPod);
  if (words !== undefined) report.condition('TargetCleaned', 'False', 'QemuEnded', words);
  const told = report.current.conditions?.find(
    ({ type, reason }) => type === 'TargetCleaned' && reason === 'QemuEnded',
  );
  const message = [cause.message, told?.message, runsWhere(facts)].filter(Boolean).join(' ');
  report.phase('RollingBack', { reason: cause.reason, message });
  const { effects, cleaned, lookAgainAfter } = clean(facts.targetPod, {
    mayDelete: true,
    since: report.phaseEnteredAt(),
    now: facts.now,
  });
  if (!cleaned) return lookAgainAfter === undefined ? { effects } : { effects, lookAgainAfter };
  report.condition('TargetCleaned', 'True', 'Gone', 'The target pod is gone.');
  return report.end(cancelled ? 'Cancelled' : 'Failed', { reason: cause.reason, message });
}

/** What a target that failed by itself said last: of a state that cannot be loaded, only the target knows why. */
function lastWords(pod: PodFacts): string | undefined {
  if (!pod.exists || pod.terminated === undefined || pod.terminated.exitCode === 0) return undefined;
  const said = pod.terminated.message?.trim();
  return `The target QEMU on ${pod.nodeName} ended with exit code ${pod.terminated.exitCode}${said ? `: ${said}` : ''}.`;
}

/**
 * How a losing pod goes: its agent ends QEMU, the node reports the container terminated, and only then the finalizer and the
 * pod are removed. A pod that was never placed has no QEMU. Deleting a pod whose QEMU may live (`mayDelete`) is for agents that
 * do not answer, and only where the losing side is already proven to have lost.
 */
function clean(
  pod: PodFacts,
  { mayDelete, since, now }: { mayDelete: boolean; since: number; now: number },
): { effects: ControllerEffect[]; cleaned: boolean; lookAgainAfter?: number } {
  if (!pod.exists) return { effects: [], cleaned: true };
  const reference = { name: pod.name, uid: pod.uid, resourceVersion: pod.resourceVersion };
  if (isGone(pod))
    return { effects: pod.held || !pod.deleting ? [{ kind: 'releasePod', pod: reference }] : [], cleaned: false };
  if (pod.nodeName === undefined) return { effects: [{ kind: 'deletePod', pod: reference }], cleaned: false };
  if (pod.deleting || !mayDelete) return { effects: [], cleaned: false };
  const wait = since + limits.agentEndsQemu - now;
  return wait > 0
    ? { effects: [], cleaned: false, lookAgainAfter: wait }
    : { effects: [{ kind: 'deletePod', pod: reference }], cleaned: false };
}

/** A pod in deletion is not placed any more, so one without a node then never had a QEMU. */
function isGone(pod: ExistingPod): boolean {
  return pod.terminated !== undefined || (pod.nodeName === undefined && pod.deleting);
}

/** The outcome is settled; what is left is to see the losing side gone, to give the VM back, and to let the object go. */
function settle(facts: ControllerFacts, report: Report, deleting: boolean): Decision {
  const { virtualMachine: vm, migration, sourcePod, now } = facts;
  const status = report.current;
  report.copyDowntime(sourceSide(status)?.downtimeMilliseconds);
  if (status.owner !== undefined) {
    const { effects, cleaned, lookAgainAfter } = clean(sourcePod, {
      mayDelete: true,
      since: report.phaseEnteredAt(),
      now,
    });
    if (!cleaned) return lookAgainAfter === undefined ? { effects } : { effects, lookAgainAfter };
    report.condition('SourceCleaned', 'True', 'Gone', `The source pod on ${status.sourceNode} is gone.`);
  }
  const result = status.phase as 'Succeeded' | 'Failed' | 'Cancelled';
  const unlock: ControllerEffect[] =
    vm?.status?.migration?.uid === migration.metadata.uid ? [{ kind: 'unlockVirtualMachine', result }] : [];
  return { effects: [...unlock, ...(deleting ? [{ kind: 'removeFinalizer' } as const] : [])] };
}

function runsWhere({ virtualMachine: vm, sourcePod, targetPod }: ControllerFacts): string {
  const { placement, guest } = vm?.status ?? {};
  if (vm === undefined || placement?.nodeName === undefined) return '';
  const pod = [sourcePod, targetPod].find((candidate) => candidate.exists && candidate.uid === placement.podUID);
  if (pod?.exists && pod.terminated !== undefined)
    return `vm/${vm.metadata.name} is down: its QEMU on ${placement.nodeName} has ended.`;
  const stands = guest !== undefined && guest.podUID === placement.podUID && guest.running === false;
  return `vm/${vm.metadata.name} ${stands ? 'is' : 'runs'} on ${placement.nodeName}.`;
}
