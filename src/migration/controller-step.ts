/**
 * What the controller does next with one migration. It places, approves, moves ownership and cleans; it never decides whether
 * the guest may run here or there: that is the agents' business, and their final words are the facts it waits for.
 */
import { finalizers } from '../api/labels.ts';
import { isTerminal } from '../api/phases.ts';
import {
  type ControllerFacts,
  type ControllerStep,
  type Decision,
  nothing,
  one,
  type PodFacts,
} from './controller-facts.ts';
import { sourceSide, type TargetVerdict, targetSide } from './evidence.ts';
import { limits } from './limits.ts';
import { obstacle, wish } from './obstacles.ts';
import { ownershipMoves, rollBack, runsWhere, settle, sourceEnded } from './outcome.ts';
import { Report } from './report.ts';
import type { Cause } from './source-step.ts';

export function controllerStep(facts: ControllerFacts): ControllerStep {
  const report = new Report(facts.migration, facts.now);
  const result = decide(facts, report);
  return { ...result, status: report.status() };
}

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
    // On clocks that are far apart it is shown at once.
    const wait = Date.parse(source.verdictAt ?? '') + limits.switchoverShown - facts.now;
    if (wait > 0 && wait <= limits.switchoverShown) return { effects: [], lookAgainAfter: wait };
    return switchingOver(facts, report, target?.verdict);
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

function giveUp(facts: ControllerFacts, report: Report, cause: Cause): Decision {
  if (cause.reason === 'PreflightFailed') report.condition('PreflightPassed', 'False', cause.reason, cause.message);
  report.abort(cause);
  const waiting = `The agent on ${report.current.sourceNode} has yet to confirm that the guest is back as it was.`;
  return report.phase('RollingBack', {
    reason: cause.reason,
    message: `${cause.message} ${waiting} ${runsWhere(facts)}`,
  });
}

/** The source has told, and the target has yet to answer. */
function switchingOver(facts: ControllerFacts, report: Report, targetVerdict: TargetVerdict | undefined): Decision {
  const { sourceNode, targetNode } = report.current;
  const waitsFor =
    targetVerdict === undefined
      ? `The guest stands still until the agent on ${targetNode} has continued it there.`
      : `The target has never run it; the guest stands still until the agent on ${sourceNode} has continued it there.`;
  report.phase('SwitchingOver', { reason: 'SwitchingOver', message: `The source has sent everything. ${waitsFor}` });
  if (targetVerdict !== undefined || !facts.targetPod.exists || facts.targetPod.terminated === undefined)
    return nothing;
  // The node says that the target has ended, and nobody can say any more whether the guest had run there.
  const wait = report.phaseEnteredAt() + limits.agentSpeaks - facts.now;
  return wait > 0 ? { effects: [], lookAgainAfter: wait } : ownershipMoves(facts, report, 'Lost');
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
