/** How an attempt ends: at the target, at the source, or down; and how the losing side is seen gone. */
import type { VirtualMachineMigrationStatus } from '../api/virtual-machine-migration.gen.ts';
import {
  type ControllerEffect,
  type ControllerFacts,
  type Decision,
  nothing,
  one,
  type PodFacts,
} from './controller-facts.ts';
import { sourceSide, targetSide } from './evidence.ts';
import { limits } from './limits.ts';
import type { Report } from './report.ts';
import type { Cause } from './source-step.ts';

/** The target has run the guest (or may have): it is the VM now, whatever became of it since. */
export function ownershipMoves(facts: ControllerFacts, report: Report, verdict: 'TookOver' | 'Lost'): Decision {
  const { virtualMachine: vm } = facts;
  const { sourcePod, targetPod, targetNode = '', sourceNode } = report.current;
  const placement = vm?.status?.placement;
  if (vm === undefined) {
    const message = `vm/${facts.migration.spec.virtualMachineName} was removed by force while it was being migrated.`;
    return report.end('Failed', { reason: 'VirtualMachineNotFound', message });
  }
  if (placement === undefined || sourcePod?.uid === undefined || targetPod?.uid === undefined) return nothing;
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
export function sourceEnded(facts: ControllerFacts, report: Report): Decision {
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
export function rollBack(facts: ControllerFacts, report: Report, cause: Cause): Decision {
  const cancelled = cause.reason === 'Cancelled';
  const failed = cause.reason === 'TransferFailed' || cause.reason === 'TargetLost';
  const words = failed ? lastWords(facts.targetPod) : undefined;
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
  if (!cleaned) {
    report.phase('RollingBack', { reason: cause.reason, message: `${message} ${yetToBeGone(facts.targetPod)}` });
    return lookAgainAfter === undefined ? { effects } : { effects, lookAgainAfter };
  }
  report.condition('TargetCleaned', 'True', 'Gone', 'The target pod is gone.');
  return report.end(cancelled ? 'Cancelled' : 'Failed', { reason: cause.reason, message });
}

/** What is waited for, by name. */
function yetToBeGone(pod: PodFacts): string {
  if (!pod.exists) return '';
  const where = pod.nodeName === undefined ? '' : ` on ${pod.nodeName}`;
  return `Pod ${pod.name}${where} has yet to be seen gone; until then the VM stays locked.`;
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
function isGone(pod: Extract<PodFacts, { exists: true }>): boolean {
  return pod.terminated !== undefined || (pod.nodeName === undefined && pod.deleting);
}

/** The outcome is settled; what is left is to see the losing side gone, to give the VM back, and to let the object go. */
export function settle(facts: ControllerFacts, report: Report, deleting: boolean): Decision {
  const { virtualMachine: vm, migration, sourcePod, targetPod, now } = facts;
  const status = report.current;
  if (status.owner !== undefined) {
    const { effects, cleaned, lookAgainAfter } = clean(sourcePod, {
      mayDelete: true,
      since: report.phaseEnteredAt(),
      now,
    });
    // The measured pause and the end of the source come within a tenth of a second: one write tells both, unless it takes longer.
    const patience = report.phaseEnteredAt() + limits.downtimeTold - now;
    if (cleaned || patience <= 0) report.copyDowntime(sourceSide(status)?.downtimeMilliseconds);
    if (!cleaned && patience <= 0) report.condition('SourceCleaned', 'False', 'Waiting', yetToBeGone(sourcePod));
    if (!cleaned)
      return { effects, lookAgainAfter: patience > 0 ? patience : (lookAgainAfter ?? limits.agentEndsQemu) };
    report.condition('SourceCleaned', 'True', 'Gone', `The source pod on ${status.sourceNode} is gone.`);
    // The pods' cache may be ahead of the migrations': what the source said before it ended is then still to come.
    if (report.current.downtimeMilliseconds === undefined && patience > 0)
      return { effects: [], lookAgainAfter: patience };
  } else {
    // Nothing was moved and nothing will be. A pod that is there still was created by a leader that had slept.
    const { effects, cleaned, lookAgainAfter } = clean(targetPod, {
      mayDelete: true,
      since: report.phaseEnteredAt(),
      now,
    });
    if (!cleaned) return lookAgainAfter === undefined ? { effects } : { effects, lookAgainAfter };
  }
  const result = status.phase as 'Succeeded' | 'Failed' | 'Cancelled';
  const unlock: ControllerEffect[] =
    vm?.status?.migration?.uid === migration.metadata.uid ? [{ kind: 'unlockVirtualMachine', result }] : [];
  return { effects: [...unlock, ...(deleting ? [{ kind: 'removeFinalizer' } as const] : [])] };
}

/** One sentence on where the VM runs now; empty when nobody knows of it. */
export function runsWhere({ migration, virtualMachine: vm, sourcePod, targetPod }: ControllerFacts): string {
  const { placement, guest } = vm?.status ?? {};
  if (vm === undefined || placement?.nodeName === undefined) return '';
  const pod = [sourcePod, targetPod].find((candidate) => candidate.exists && candidate.uid === placement.podUID);
  if (pod?.exists && pod.terminated !== undefined)
    return `vm/${vm.metadata.name} is down: its QEMU on ${placement.nodeName} has ended.`;
  const reported = guest !== undefined && guest.podUID === placement.podUID ? guest.running : undefined;
  const stands = reported === false || (reported === undefined && migration.status?.source?.resumeTarget === false);
  return `vm/${vm.metadata.name} ${stands ? 'is' : 'runs'} on ${placement.nodeName}.`;
}
