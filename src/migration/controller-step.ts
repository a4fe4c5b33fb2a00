/**
 * What the controller does next with one migration. It places, approves, moves ownership and cleans; it never decides whether
 * the guest may run here or there: that is the agents' business, and their final words are the facts it waits for.
 */
import { finalizers } from '../api/labels.ts';
import { isTerminal } from '../api/phases.ts';
import { needsAttention, watch } from './attention.ts';
import type { Cause } from './cause.ts';
import { type ControllerFacts, type ControllerStep, type Decision, isGone, nothing, one } from './controller-facts.ts';
import { isSilent } from './deadlines.ts';
import { sourceSide, sourceWord, targetSide, targetWord } from './evidence.ts';
import { limits } from './limits.ts';
import { agreement, obstacle, wish } from './obstacles.ts';
import {
  isSettledAsDown,
  moveBack,
  moveOwnership,
  neverSpeaks,
  rollBack,
  settle,
  sourceEnded,
  whyTheSourceEnded,
} from './outcome.ts';
import { type Outcome, outcomes, sourceStanding, targetStanding } from './outcome-table.ts';
import { Report } from './report.ts';
import { runsWhere } from './where.ts';

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
  if (lock === undefined && facts.room.toBegin !== undefined) {
    const message = `${facts.room.toBegin} ${runsWhere(facts)}`;
    return watch(report.phase('Pending', { reason: 'WaitingForCapacity', message }));
  }
  if (lock === undefined) return one({ kind: 'lockVirtualMachine' });
  report.begin({ node: placement.nodeName, pod: { name: placement.podName ?? '', uid: placement.podUID } });
  report.phase('Scheduling', { reason: 'Scheduling', message: `A target pod is being placed. ${runsWhere(facts)}` });
  return createTarget(facts, report);
}

type Handler = (facts: ControllerFacts, report: Report, deleting: boolean) => Decision;

const handlers: Record<Outcome, Handler> = {
  Proceed: proceed,
  RollBack: (facts, report) => rollBack(facts, report, whyTheSourceKeepsIt(report)),
  AwaitTarget: awaitTarget,
  AwaitTargetWord: awaitTargetWord,
  AwaitSource: awaitSource,
  AwaitSourceWord: awaitSourceWord,
  Move: (facts, report) => moveOwnership(facts, report, 'TookOver'),
  DownAtTarget: (facts, report) => moveOwnership(facts, report, 'Lost'),
  DownAtSource: (facts, report) => sourceEnded(facts, report),
  Contradiction: contradiction,
};

/** The attempt is under way: what both sides have said for good decides. */
function follow(facts: ControllerFacts, report: Report, deleting: boolean): Decision {
  const { current } = report;
  report.copyDowntime(sourceSide(current)?.downtimeMilliseconds);
  const source = sourceStanding(sourceWord(current), facts.sourcePod);
  const target = targetStanding(targetWord(current), facts.targetPod);
  const handedOver = source === 'Told' || source === 'ToldAndEnded' || target === 'TookOver';
  if (handedOver && wish(facts, deleting) !== undefined) report.rejectCancel();
  const outcome = isSettledAsDown(report) ? 'DownAtSource' : outcomes[source][target];
  // On an old copy of the object the target may have been given up for lost, and the VM moved there.
  const back = staysAtSource.has(outcome) ? moveBack(facts, report) : undefined;
  return back ?? handlers[outcome](facts, report, deleting);
}

const staysAtSource: ReadonlySet<Outcome> = new Set(['RollBack', 'AwaitSource', 'DownAtSource']);

/** What its owner wants, what stands in the way, and then the next step forward. */
function proceed(facts: ControllerFacts, report: Report, deleting: boolean): Decision {
  const { abort } = report.current;
  if (abort?.attempt === report.current.attempt) return awaitAbort(facts, report, abort as Cause);
  const unwanted = wish(facts, deleting) ?? obstacle(facts);
  if (unwanted !== undefined) return giveUp(facts, report, unwanted);
  return forward(facts, report);
}

function giveUp(facts: ControllerFacts, report: Report, cause: Cause): Decision {
  if (cause.reason === 'PreflightFailed' || cause.reason === 'NotMigratable')
    report.condition('PreflightPassed', 'False', cause.reason, cause.message);
  report.abort(cause);
  return awaitAbort(facts, report, cause);
}

/** The source's agent decides; but what was never approved was never sent, and needs nobody's word. */
function awaitAbort(facts: ControllerFacts, report: Report, cause: Cause): Decision {
  const { plan, sourceNode } = report.current;
  if (plan === undefined) return rollBack(facts, report, cause);
  const { virtualMachineName } = facts.migration.spec;
  const what = `${cause.message} Nobody speaks for ${sourceNode}, where vm/${virtualMachineName} ran last and may run still.`;
  const waiting = `The agent on ${sourceNode} has yet to confirm that the guest is back as it was.`;
  const message = `${cause.message} ${waiting} ${runsWhere(facts)}`;
  return (
    needsAttention(facts, report, 'source', what) ??
    watch(report.phase('RollingBack', { reason: cause.reason, message }))
  );
}

function whyTheSourceKeepsIt({ current }: Report): Cause {
  const { verdict, reason, message } = sourceSide(current) ?? {};
  return verdict === 'Resumed'
    ? { reason: 'TargetLost', message: message ?? 'The target QEMU ended before it had run the guest.' }
    : ({ reason: reason ?? 'TransferFailed', message: message ?? '' } as Cause);
}

/** The source has told, and the target has yet to answer. */
function awaitTarget(facts: ControllerFacts, report: Report): Decision {
  const told = Date.parse(sourceSide(report.current)?.verdictAt ?? '');
  // On clocks that are far apart it is shown at once.
  const wait = told + limits.switchoverShown - facts.now;
  if (wait > 0 && wait <= limits.switchoverShown) return { effects: [], lookAgainAfter: wait };
  const { targetNode = '', transfer } = report.current;
  // What the target still lacks is lost: it is to say so.
  if (transfer?.mode === 'PostCopy' && isGone(facts.sourcePod))
    report.abort(whyTheSourceEnded(facts, report), { sourceGone: true });
  return switchingOver(
    facts,
    report,
    `The guest stands still until the agent on ${targetNode} has continued it there.`,
  );
}

/** Of two that have ended none need be moved: the VM is down where it is placed. */
function whyBothEnded(facts: ControllerFacts, report: Report): Cause {
  const { targetNode, sourceNode, transfer } = report.current;
  if (transfer?.mode === 'PostCopy') return whyTheSourceEnded(facts, report);
  const message = `The QEMU on ${targetNode} ended after the guest had been handed over, and so did the one on ${sourceNode}.`;
  return { reason: 'TargetLostAfterHandover', message };
}

function awaitTargetWord(facts: ControllerFacts, report: Report): Decision {
  const { targetNode, sourceNode, phase = '' } = report.current;
  const waiting = `The target QEMU has ended; the agent on ${targetNode} has yet to say whether it had run the guest.`;
  const bothEnded = isGone(facts.sourcePod);
  if (bothEnded && report.current.abort?.sourceGone) return sourceEnded(facts, report, whyBothEnded(facts, report));
  const since = waitsForHandover.has(phase) ? report.phaseEnteredAt() : facts.now;
  if (!neverSpeaks(facts.targetPod, facts.agents.target, since, facts.now))
    return switchingOver(facts, report, waiting);
  if (bothEnded) return sourceEnded(facts, report, whyBothEnded(facts, report));
  // Before it ended it may have told the source directly that it never ran the guest: then that runs at the source again.
  const { source } = facts.agents;
  if (source !== undefined && source.seenAt > since && !isSilent(source, since, facts.now))
    return moveOwnership(facts, report, 'Lost');
  const what = `The target QEMU on ${targetNode} has ended, and nobody speaks for ${sourceNode}: vm/${facts.migration.spec.virtualMachineName} stands still there, or runs again.`;
  return (
    needsAttention(facts, report, 'source', what) ??
    watch(
      report.phase('SwitchingOver', { reason: 'SwitchingOver', message: `The source has sent everything. ${waiting}` }),
    )
  );
}

const waitsForHandover: ReadonlySet<string> = new Set(['SwitchingOver', 'NeedsAttention']);

function switchingOver(facts: ControllerFacts, report: Report, waiting: string): Decision {
  const { targetNode } = report.current;
  const what = `vm/${facts.migration.spec.virtualMachineName} was handed over to ${targetNode}, and nobody speaks for that node: it may run there, or stand still.`;
  const message = `The source has sent everything. ${waiting}`;
  return (
    needsAttention(facts, report, 'target', what) ??
    watch(report.phase('SwitchingOver', { reason: 'SwitchingOver', message }))
  );
}

function awaitSource(facts: ControllerFacts, report: Report): Decision {
  const { sourceNode } = report.current;
  const what = `The target has never run vm/${facts.migration.spec.virtualMachineName}; it stands still on ${sourceNode}, and nobody speaks for that node.`;
  const message = `The target has never run the guest; it stands still until the agent on ${sourceNode} has continued it there.`;
  return (
    needsAttention(facts, report, 'source', what) ??
    watch(report.phase('SwitchingOver', { reason: 'SwitchingOver', message }))
  );
}

/** The node tells that the source's QEMU ended, not what its agent had told before: the target's copy may be the newest there is. */
function awaitSourceWord(facts: ControllerFacts, report: Report): Decision {
  const { plan, abort, sourceNode } = report.current;
  // Seen just now, perhaps, in a phase that is old.
  report.condition(
    'SourceCleaned',
    'False',
    'Waiting',
    `The QEMU on ${sourceNode} has ended, and it is not known how.`,
  );
  const endedAt = report.conditionSince('SourceCleaned');
  const late = neverSpeaks(facts.sourcePod, facts.agents.source, endedAt, facts.now);
  if (plan === undefined || abort?.sourceGone || late) return sourceEnded(facts, report);
  const cause = whyTheSourceEnded(facts, report);
  const what = `${cause.message} Nobody speaks for ${sourceNode}, so that it is not known whether vm/${facts.migration.spec.virtualMachineName} had been handed over; it is down.`;
  const message = `${cause.message} Its agent has yet to say whether the guest had been handed over.`;
  return (
    needsAttention(facts, report, 'source', what) ??
    watch(report.phase('RollingBack', { reason: cause.reason, message }))
  );
}

/** Once one of the two is gone, the other is the VM. */
function contradiction(facts: ControllerFacts, report: Report): Decision {
  if (isGone(facts.sourcePod))
    return moveOwnership(facts, report, targetWord(report.current) === 'Lost' ? 'Lost' : 'TookOver');
  const message =
    'Source and target both say that they ran the guest, which cannot be. The target is stopped, and nothing else is touched. ' +
    `Look at both QEMUs before anything else, keep the logs of both agents, and report it. ${runsWhere(facts)}`;
  if (isGone(facts.targetPod)) return rollBack(facts, report, { reason: 'Contradiction', message });
  return report.phase('NeedsAttention', { reason: 'Contradiction', message });
}

function createTarget(facts: ControllerFacts, { current }: Report): Decision {
  const failed = (current.attempts ?? []).flatMap(({ targetNode }) => targetNode ?? []);
  const elsewhere = facts.migration.spec.target?.nodeName === undefined ? failed : [];
  const avoidNodes = [...new Set([current.sourceNode ?? '', ...elsewhere])];
  const shunNodes = facts.room.fullNodes;
  return one({ kind: 'createTargetPod', attempt: current.attempt ?? 1, avoidNodes, shunNodes });
}

/** The presence of the source's agent is the clock by which this is waited for. */
function placing(facts: ControllerFacts, report: Report): Decision {
  const { now, targetPod } = facts;
  const { sourceNode, phase } = report.current;
  const says = `The agent on ${sourceNode} does not answer. ${runsWhere(facts)}`;
  const silent = needsAttention(facts, report, 'source', says, howToGetOn(sourceNode));
  if (silent !== undefined) return silent;
  const scheduling = { reason: 'Scheduling', message: `A target pod is being placed. ${runsWhere(facts)}` } as const;
  if (!targetPod.exists) {
    if (phase === 'NeedsAttention') report.phase('Scheduling', scheduling);
    return watch(createTarget(facts, report));
  }
  const { unschedulable } = targetPod;
  if (unschedulable === undefined) return watch(report.phase('Scheduling', scheduling));
  const message = `No node takes the target pod yet: ${unschedulable.message} ${runsWhere(facts)}`;
  report.phase('Scheduling', { ...scheduling, message });
  const wait = unschedulable.since + limits.unschedulable - now;
  return { effects: [], lookAgainAfter: Math.max(limits.unschedulable / 5, wait) };
}

/** Scheduling → Checking → Preparing → Transferring. */
function forward(facts: ControllerFacts, report: Report): Decision {
  const { migration, targetPod } = facts;
  const status = report.current;
  if (status.plan !== undefined) return transferring(facts, report);
  if (!targetPod.exists || targetPod.nodeName === undefined) return placing(facts, report);
  report.placed({ node: targetPod.nodeName, pod: { name: targetPod.name, uid: targetPod.uid } });
  const source = sourceSide(report.current);
  const target = targetSide(report.current);
  if (source?.preflight === undefined || target?.preflight === undefined) {
    const message = `${status.sourceNode} and ${targetPod.nodeName} are being checked. ${runsWhere(facts)}`;
    return awaitAgents(facts, report) ?? watch(report.phase('Checking', { reason: 'Checking', message }));
  }
  report.condition(
    'PreflightPassed',
    'True',
    'Checked',
    `vm/${migration.spec.virtualMachineName} may move to ${targetPod.nodeName}.`,
  );
  if (target.endpoint === undefined) {
    const message = `The target QEMU on ${targetPod.nodeName} is getting ready. ${runsWhere(facts)}`;
    return awaitAgents(facts, report) ?? watch(report.phase('Preparing', { reason: 'Preparing', message }));
  }
  report.condition('TargetReady', 'True', 'Listening', `The target QEMU listens on ${targetPod.nodeName}.`);
  if (facts.room.toSend !== undefined) {
    const message = `The target on ${targetPod.nodeName} is ready. ${facts.room.toSend} ${runsWhere(facts)}`;
    return awaitAgents(facts, report) ?? watch(report.phase('Preparing', { reason: 'WaitingForCapacity', message }));
  }
  const agreed = agreement(facts);
  if (typeof agreed !== 'number') return giveUp(facts, report, agreed);
  report.plan(target.endpoint, agreed);
  return report.phase('Transferring', {
    reason: 'Transferring',
    message: `Memory is being sent to ${targetPod.nodeName}. ${runsWhere(facts)}`,
  });
}

/** Nothing has been sent yet, and cannot be as long as one of the two agents is silent. */
function awaitAgents(facts: ControllerFacts, report: Report): Decision | undefined {
  const { sourceNode, targetNode } = report.current;
  const says = (node: string | undefined) => `The agent on ${node} does not answer. ${runsWhere(facts)}`;
  return (
    needsAttention(facts, report, 'source', says(sourceNode), howToGetOn(sourceNode)) ??
    needsAttention(facts, report, 'target', says(targetNode), howToGetOn(targetNode))
  );
}

function howToGetOn(node: string | undefined): string {
  return `Is the agent running on ${node}? Bring it back, or cancel the migration: nothing has been sent, and it ends at once.`;
}

/** Bytes flow from QEMU to QEMU; nobody here is needed. What the source's agent waits for is passed on to people. */
function transferring(facts: ControllerFacts, report: Report): Decision {
  const { sourceNode, targetNode } = report.current;
  const { verdict, message } = sourceSide(report.current) ?? {};
  const waitsFor = verdict === undefined ? message : undefined;
  const what = `Nobody speaks for ${sourceNode}, where vm/${facts.migration.spec.virtualMachineName} runs while it is being moved to ${targetNode}; the transfer may go on, and may have ended.`;
  return (
    needsAttention(facts, report, 'source', what) ??
    (waitsFor === undefined ? undefined : awaitAgents(facts, report)) ??
    watch(
      report.phase('Transferring', {
        reason: 'Transferring',
        message: `${waitsFor ?? `Memory is being sent to ${targetNode}.`} ${runsWhere(facts)}`,
      }),
    )
  );
}
