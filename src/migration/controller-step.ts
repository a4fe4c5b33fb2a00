/**
 * What the controller does next with one migration. It places, approves, moves ownership and cleans; it never decides whether
 * the guest may run here or there: that is the agents' business, and their final words are the facts it waits for.
 */
import { finalizers } from '../api/labels.ts';
import { isTerminal } from '../api/phases.ts';
import type { Cause } from './cause.ts';
import { type ControllerFacts, type ControllerStep, type Decision, nothing, one } from './controller-facts.ts';
import { isSilent } from './deadlines.ts';
import { sourceSide, sourceWord, targetSide, targetWord } from './evidence.ts';
import { limits } from './limits.ts';
import { obstacle, wish } from './obstacles.ts';
import { moveOwnership, neverSpeaks, rollBack, settle, sourceEnded, whyTheSourceEnded } from './outcome.ts';
import { type Outcome, outcomes, sourceStanding, targetStanding } from './outcome-table.ts';
import { Report } from './report.ts';
import { runsWhere, whatSettlesIt } from './where.ts';

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
  DownAtSource: sourceEnded,
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
  return handlers[outcomes[source][target]](facts, report, deleting);
}

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
  const { plan, sourceNode = '', sourcePod } = report.current;
  if (plan === undefined) return rollBack(facts, report, cause);
  const waiting = `The agent on ${sourceNode} has yet to confirm that the guest is back as it was.`;
  const message = `${cause.message} ${waiting} ${runsWhere(facts)}`;
  return (
    needsAttention(facts, report, 'source', 'SourceSilent', {
      what: `${cause.message} Nobody speaks for ${sourceNode}, where vm/${facts.migration.spec.virtualMachineName} ran last and may run still.`,
      settled: whatSettlesIt(sourceNode, facts.migration.spec.virtualMachineName, sourcePod?.uid ?? ''),
    }) ?? watch(report.phase('RollingBack', { reason: cause.reason, message }))
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
  const { targetNode = '' } = report.current;
  return switchingOver(
    facts,
    report,
    `The guest stands still until the agent on ${targetNode} has continued it there.`,
  );
}

function awaitTargetWord(facts: ControllerFacts, report: Report): Decision {
  const { targetNode = '' } = report.current;
  const waiting = `The target QEMU has ended; the agent on ${targetNode} has yet to say whether it had run the guest.`;
  const decision = switchingOver(facts, report, waiting);
  const late = neverSpeaks(facts.targetPod, facts.agents.target, report.phaseEnteredAt(), facts.now);
  return late ? moveOwnership(facts, report, 'Lost') : decision;
}

function switchingOver(facts: ControllerFacts, report: Report, waiting: string): Decision {
  const { targetNode = '', targetPod } = report.current;
  const { virtualMachineName } = facts.migration.spec;
  return (
    needsAttention(facts, report, 'target', 'TargetSilent', {
      what: `vm/${virtualMachineName} was handed over to ${targetNode}, and nobody speaks for that node: it may run there, or stand still.`,
      settled: `${whatSettlesIt(targetNode, virtualMachineName, targetPod?.uid ?? '')} The VM is then started again from its disks.`,
    }) ??
    watch(
      report.phase('SwitchingOver', { reason: 'SwitchingOver', message: `The source has sent everything. ${waiting}` }),
    )
  );
}

function awaitSource(facts: ControllerFacts, report: Report): Decision {
  const { sourceNode = '', sourcePod } = report.current;
  const { virtualMachineName } = facts.migration.spec;
  const message = `The target has never run the guest; it stands still until the agent on ${sourceNode} has continued it there.`;
  return (
    needsAttention(facts, report, 'source', 'SourceSilent', {
      what: `The target has never run vm/${virtualMachineName}; it stands still on ${sourceNode}, and nobody speaks for that node.`,
      settled: whatSettlesIt(sourceNode, virtualMachineName, sourcePod?.uid ?? ''),
    }) ?? watch(report.phase('SwitchingOver', { reason: 'SwitchingOver', message }))
  );
}

/** The node tells that the source's QEMU ended, not what its agent had told before: the target's copy may be the newest there is. */
function awaitSourceWord(facts: ControllerFacts, report: Report): Decision {
  const { plan, abort, sourceNode = '', sourcePod } = report.current;
  if (plan === undefined || abort?.sourceGone) return sourceEnded(facts, report);
  const cause = whyTheSourceEnded(facts, report);
  const { virtualMachineName } = facts.migration.spec;
  const message = `${cause.message} Its agent has yet to say whether the guest had been handed over.`;
  const decision =
    needsAttention(facts, report, 'source', 'SourceSilent', {
      what: `${cause.message} Nobody speaks for ${sourceNode}, so that it is not known whether vm/${virtualMachineName} had been handed over; it is down.`,
      settled: whatSettlesIt(sourceNode, virtualMachineName, sourcePod?.uid ?? ''),
    }) ?? watch(report.phase('RollingBack', { reason: cause.reason, message }));
  const late = neverSpeaks(facts.sourcePod, facts.agents.source, report.phaseEnteredAt(), facts.now);
  return late ? sourceEnded(facts, report) : decision;
}

function contradiction(facts: ControllerFacts, report: Report): Decision {
  const message =
    'Source and target both say that they ran the guest, which cannot be. The target is stopped, and nothing else is touched. ' +
    `Look at both QEMUs before anything else, keep the logs of both agents, and report it. ${runsWhere(facts)}`;
  return report.phase('NeedsAttention', { reason: 'TargetSilent', message });
}

/**
 * The agent of that side is silent, and only it (or whoever fences its node) can say what has to be known. Nothing is touched.
 * @returns nothing when the agent is there.
 */
function needsAttention(
  facts: ControllerFacts,
  report: Report,
  side: 'source' | 'target',
  reason: 'SourceSilent' | 'TargetSilent',
  { what, settled }: { what: string; settled: string },
): Decision | undefined {
  const agent = facts.agents[side];
  const waitsAlready = report.current.phase === 'NeedsAttention';
  const begunAt = waitsAlready ? (agent?.seenAt ?? 0) : report.phaseEnteredAt();
  if (!isSilent(agent, begunAt, facts.now)) return undefined;
  return watch(report.phase('NeedsAttention', { reason, message: `${what} ${settled}` }));
}

/** Agents fall silent without a change of any object. */
function watch(decision: Decision): Decision {
  return { ...decision, lookAgainAfter: limits.agentSilent / 3 };
}

function createTarget(facts: ControllerFacts, { current }: Report): Decision {
  const failed = (current.attempts ?? []).flatMap(({ targetNode }) => targetNode ?? []);
  const elsewhere = facts.migration.spec.target?.nodeName === undefined ? failed : [];
  const avoidNodes = [...new Set([current.sourceNode ?? '', ...elsewhere])];
  return one({ kind: 'createTargetPod', attempt: current.attempt ?? 1, avoidNodes });
}

/** Scheduling → Checking → Preparing → Transferring. */
function forward(facts: ControllerFacts, report: Report): Decision {
  const { migration, now, targetPod } = facts;
  const status = report.current;
  if (status.plan !== undefined) return transferring(facts, report);
  if (!targetPod.exists) return createTarget(facts, report);
  if (targetPod.nodeName === undefined) {
    const since = targetPod.unschedulable?.since;
    if (since === undefined) return { effects: [], lookAgainAfter: limits.unscheduled };
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
    return { effects: [], lookAgainAfter: limits.agentSilent };
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
    return { effects: [], lookAgainAfter: limits.agentSilent };
  }
  report.condition('TargetReady', 'True', 'Listening', `The target QEMU listens on ${targetPod.nodeName}.`);
  report.plan(target.endpoint);
  return report.phase('Transferring', {
    reason: 'Transferring',
    message: `Memory is being sent to ${targetPod.nodeName}. ${runsWhere(facts)}`,
  });
}

/** Bytes flow from QEMU to QEMU; nobody here is needed. What the source's agent waits for is passed on to people. */
function transferring(facts: ControllerFacts, report: Report): Decision {
  const { verdict, message } = sourceSide(report.current) ?? {};
  if (verdict !== undefined || message === undefined) return nothing;
  report.phase('Transferring', { reason: 'Transferring', message: `${message} ${runsWhere(facts)}` });
  return { effects: [], lookAgainAfter: limits.agentSilent / 3 };
}
