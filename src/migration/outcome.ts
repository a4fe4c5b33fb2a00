/** How an attempt ends: at the target, at the source, or down; and how the losing side is seen gone. */
import { reasonsOfTheTarget } from '../api/reasons.ts';
import { needsAttention, watch } from './attention.ts';
import type { Cause } from './cause.ts';
import { clean, isOwed } from './cleaning.ts';
import {
  type ControllerEffect,
  type ControllerFacts,
  type Decision,
  isGone,
  nothing,
  one,
  type PodFacts,
} from './controller-facts.ts';
import { expired } from './deadlines.ts';
import { sourceSide, sourceWord, targetWord } from './evidence.ts';
import { expire } from './expiry.ts';
import { limits } from './limits.ts';
import { wish } from './obstacles.ts';
import type { Report } from './report.ts';
import { runsWhere, yetToBeGone } from './where.ts';

/** The target has run the guest (or may have): it is the VM now, whatever became of it since. */
export function moveOwnership(facts: ControllerFacts, report: Report, verdict: 'TookOver' | 'Lost'): Decision {
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
  const postCopy = report.current.transfer?.mode === 'PostCopy';
  const message =
    `The QEMU on ${targetNode} ended after the guest had been handed over. vm/${vm.metadata.name} is down: it is not continued from older ` +
    `memory, but started again from its disks if its restartPolicy (${vm.spec.restartPolicy}) says so.`;
  return report.end('Failed', { reason: postCopy ? 'PostCopyLost' : 'TargetLostAfterHandover', message });
}

/** The source's QEMU ended and had not handed over: the target must not run, and the VM is down. */
export function sourceEnded(
  facts: ControllerFacts,
  report: Report,
  why: Cause = whyTheSourceEnded(facts, report),
): Decision {
  const { virtualMachine: vm, sourcePod, migration, now } = facts;
  const wasSettled = isSettledAsDown(report);
  report.abort(why, { sourceGone: true });
  if (why.reason === 'GuestPoweredOff') report.abortedAfterAll(why);
  report.staysAtSource();
  // Why it was first said to have ended stays why, unless more is known by now.
  const cause = report.current.abort as Cause;
  const message = `${cause.message} vm/${migration.spec.virtualMachineName} is down; its restartPolicy (${vm?.spec.restartPolicy}) says whether it is started again.`;
  if (!wasSettled && targetMaySpeak(facts, report)) {
    const { targetNode } = report.current;
    const what = `${message} Nobody speaks for ${targetNode}, so that it is not known whether the guest had been handed over and runs there.`;
    return (
      needsAttention(facts, report, 'target', what) ??
      watch(report.phase('RollingBack', { reason: cause.reason, message }))
    );
  }
  report.condition('TargetCleaned', 'False', 'Waiting', 'The target must not run any more, and is removed.');
  const since = report.conditionSince('TargetCleaned');
  const cleaning = clean(losers(facts), since, now);
  if (cleaning.left.length > 0 && !isOwed(cleaning, since, now)) {
    report.phase('RollingBack', { reason: cause.reason, message });
    return waitFor(cleaning);
  }
  if (sourcePod.exists && !isGone(sourcePod)) {
    const what = `${message} Nobody speaks for ${report.current.sourceNode}, which has yet to report the end of pod ${sourcePod.name}.`;
    const waiting =
      needsAttention(facts, report, 'source', what) ??
      watch(report.phase('RollingBack', { reason: cause.reason, message }));
    return { ...waiting, effects: cleaning.effects };
  }
  tellCleaned(report, cleaning.left);
  return { ...report.end('Failed', { reason: cause.reason, message }), effects: cleaning.effects };
}

/**
 * The source's agent may have told the target directly before it fell silent with its node: then the newest guest runs there, and only
 * its agent knows. It is asked by `abort.sourceGone`, and answers for good; also how its QEMU ended, if it has.
 */
function targetMaySpeak({ targetPod, agents, now }: ControllerFacts, report: Report): boolean {
  const { current } = report;
  if (current.plan === undefined || sourceWord(current) === 'Gone' || targetWord(current) !== undefined) return false;
  return !isGone(targetPod) || !neverSpeaks(targetPod, agents.target, report.phaseEnteredAt(), now);
}

/** The VM is down: that was settled when the target began to be removed, and no word that comes later changes it. */
export function isSettledAsDown(report: Report): boolean {
  const { abort, attempt } = report.current;
  return abort?.attempt === attempt && abort?.sourceGone === true && cleaningHasBegun(report);
}

function cleaningHasBegun({ current }: Report): boolean {
  return current.conditions?.some(({ type }) => type === 'TargetCleaned') ?? false;
}

export function whyTheSourceEnded({ sourcePod }: ControllerFacts, { current }: Report): Cause {
  const on = current.sourceNode;
  if (current.transfer?.mode === 'PostCopy')
    return {
      reason: 'PostCopyLost',
      message: `The QEMU on ${on} ended while it still held a part of the guest's memory.`,
    };
  if (sourcePod.exists && sourcePod.terminated?.exitCode === 0 && !sourcePod.deleting)
    return { reason: 'GuestPoweredOff', message: 'The guest powered itself off while it was being migrated.' };
  const how =
    sourcePod.fenced === undefined ? 'ended while the VM was being migrated.' : `has ended: ${sourcePod.fenced}`;
  return { reason: 'SourceLost', message: `The QEMU on ${on} ${how}` };
}

/** The guest runs on at the source: remove the target, see it gone, and try again or say so. */
export function rollBack(facts: ControllerFacts, report: Report, cause: Cause): Decision {
  report.staysAtSource();
  const failed = cause.reason === 'TransferFailed' || cause.reason === 'TargetLost';
  const words = failed ? lastWords(facts.targetPod) : undefined;
  const said = report.current.conditions?.find(({ type }) => type === 'TargetCleaned');
  const kept = said?.reason === 'QemuEnded' ? said.message : undefined;
  if (words !== undefined) report.condition('TargetCleaned', 'False', 'QemuEnded', words);
  else if (kept === undefined) report.condition('TargetCleaned', 'False', 'Waiting', 'The target is being removed.');
  const message = [cause.message, words ?? kept, runsWhere(facts)].filter(Boolean).join(' ');
  report.phase('RollingBack', { reason: cause.reason, message });
  const since = report.conditionSince('TargetCleaned');
  const cleaning = clean(losers(facts), since, facts.now);
  if (cleaning.left.length > 0 && !isOwed(cleaning, since, facts.now)) {
    report.phase('RollingBack', { reason: cause.reason, message: `${message} ${yetToBeGone(cleaning.left)}` });
    return waitFor(cleaning);
  }
  if (mayTryAgain(facts, cause)) return tryAgain(facts, report, cause, cleaning.effects);
  tellCleaned(report, cleaning.left);
  const result = cause.reason === 'Cancelled' ? 'Cancelled' : 'Failed';
  return { ...report.end(result, { reason: cause.reason, message }), effects: cleaning.effects };
}

function mayTryAgain(facts: ControllerFacts, { reason }: Cause): boolean {
  const { migration, virtualMachine: vm, sourcePod } = facts;
  const { attempt = 1 } = migration.status ?? {};
  return (
    reasonsOfTheTarget.has(reason) &&
    attempt <= (migration.spec.backoffLimit ?? 0) &&
    vm !== undefined &&
    sourcePod.exists &&
    sourcePod.running &&
    wish(facts, migration.metadata.deletionTimestamp !== undefined) === undefined
  );
}

/** The source's word is final: nothing of the failed attempt can run any more, also where its end has not been seen yet. */
function tryAgain(facts: ControllerFacts, report: Report, cause: Cause, effects: ControllerEffect[]): Decision {
  const { attempt = 1 } = report.current;
  const wait = report.conditionSince('TargetCleaned') + limits.retry * 2 ** (attempt - 1) - facts.now;
  if (wait > 0) return { effects, lookAgainAfter: wait };
  report.beginNextAttempt(cause);
  const message = `Attempt ${attempt} failed: ${cause.message} Attempt ${attempt + 1} begins. ${runsWhere(facts)}`;
  report.phase('Scheduling', { reason: 'Retrying', message });
  return { effects };
}

/** What a target that failed by itself said last: of a state that cannot be loaded, only the target knows why. */
function lastWords(pod: PodFacts): string | undefined {
  if (!pod.exists || pod.terminated === undefined || pod.terminated.exitCode === 0) return undefined;
  const said = pod.terminated.message?.trim();
  return `The target QEMU on ${pod.nodeName} ended with exit code ${pod.terminated.exitCode}${said ? `: ${said}` : ''}.`;
}

/** What every attempt but the winning one has left. */
function losers({ targetPod, debts }: ControllerFacts): PodFacts[] {
  return [targetPod, ...debts];
}

function waitFor({ effects, lookAgainAfter }: { effects: ControllerEffect[]; lookAgainAfter?: number }): Decision {
  return lookAgainAfter === undefined ? { effects } : { effects, lookAgainAfter };
}

function tellCleaned(report: Report, left: readonly PodFacts[]): void {
  if (left.length === 0) report.condition('TargetCleaned', 'True', 'Gone', 'The target pod is gone.');
  else
    report.condition(
      'TargetCleaned',
      'False',
      'Owed',
      `${yetToBeGone(left)} It holds nothing of the VM, and is removed when its node answers or is fenced.`,
    );
}

/** The outcome is settled; what is left is to see the losing side gone, to give the VM back, and to let the object go. */
export function settle(facts: ControllerFacts, report: Report, deleting: boolean): Decision {
  const { virtualMachine: vm, migration } = facts;
  const moved = report.current.owner !== undefined;
  const locked = vm?.status?.migration?.uid === migration.metadata.uid;
  if (moved && locked && sourceWord(report.current) === 'Resumed' && runsAtSource(facts))
    return takeBack(facts, report);
  const { effects, done, lookAgainAfter } = moved ? settleMoved(facts, report) : settleStayed(facts, report);
  const again = lookAgainAfter === undefined ? {} : { lookAgainAfter };
  if (!done) return { effects, ...again };
  const result = migration.status?.phase as 'Succeeded' | 'Failed' | 'Cancelled';
  const unlock: ControllerEffect[] = locked ? [{ kind: 'unlockVirtualMachine', result }] : [];
  if (deleting) return { effects: [...effects, ...unlock, { kind: 'removeFinalizer' }], ...again };
  const left = [...effects, ...unlock];
  return left.length > 0
    ? { effects: left, ...again }
    : { ...again, ...expire(facts, report.conditionSince('Finished')) };
}

/** Of two that have ended, the one that is placed stays so: the VM starts again when it is given back. */
function runsAtSource({ virtualMachine: vm, sourcePod }: ControllerFacts): boolean {
  if (!sourcePod.exists) return false;
  return !isGone(sourcePod) || vm?.status?.placement?.podUID === sourcePod.uid;
}

/** The target was given up for lost, and had told the source directly that it never ran: the source continued the guest. */
function takeBack(facts: ControllerFacts, report: Report): Decision {
  const back = moveBack(facts, report);
  if (back !== undefined) return back;
  report.staysAtSource();
  const { sourceNode, targetNode } = report.current;
  const message = `The target QEMU on ${targetNode} ended without having run the guest, which was continued on ${sourceNode}. ${runsWhere(facts)}`;
  return report.end('Failed', { reason: 'TargetLost', message });
}

/** @returns nothing when the placement does not name the target. */
export function moveBack({ virtualMachine: vm }: ControllerFacts, { current }: Report): Decision | undefined {
  const { sourceNode = '', sourcePod, targetPod } = current;
  if (sourcePod?.uid === undefined || targetPod?.uid === undefined) return undefined;
  if (vm?.status?.placement?.podUID !== targetPod.uid) return undefined;
  const to = { nodeName: sourceNode, podName: sourcePod.name, podUID: sourcePod.uid };
  return one({ kind: 'moveOwnership', fromPodUID: targetPod.uid, to });
}

interface Settling extends Decision {
  /** The VM can be given back. */
  done: boolean;
}

function settleMoved(facts: ControllerFacts, report: Report): Settling {
  const { sourcePod, debts, now } = facts;
  const since = report.conditionSince('Finished');
  const source = clean([sourcePod], since, now);
  const earlier = clean(debts, since, now);
  const effects = [...source.effects, ...earlier.effects];
  if (debts.length > 0 || hasDebt(report)) tellCleaned(report, earlier.left);
  const cleaned = source.left.length === 0;
  // The measured pause and the end of the source come within a tenth of a second: one write tells both, unless it takes longer.
  const patience = since + limits.downtimeTold - now;
  if (cleaned || patience <= 0) report.copyDowntime(sourceSide(report.current)?.downtimeMilliseconds);
  if (!cleaned) {
    const owed = isOwed(source, since, now);
    if (patience <= 0) report.condition('SourceCleaned', 'False', owed ? 'Owed' : 'Waiting', yetToBeGone(source.left));
    const wait = patience > 0 ? patience : source.lookAgainAfter;
    return { effects, done: owed, ...(wait === undefined ? {} : { lookAgainAfter: wait }) };
  }
  report.condition('SourceCleaned', 'True', 'Gone', `The source pod on ${report.current.sourceNode} is gone.`);
  // The pods' cache may be ahead of the migrations': what the source said before it ended is then still to come.
  if (report.current.downtimeMilliseconds === undefined && patience > 0)
    return { effects, done: false, lookAgainAfter: patience };
  return { effects, done: true };
}

/** Nothing was moved and nothing will be. A pod that is there still is a debt, or was created by a leader that had slept. */
function settleStayed(facts: ControllerFacts, report: Report): Settling {
  const since = report.conditionSince('Finished');
  const cleaning = clean(losers(facts), since, facts.now);
  const owed = hasDebt(report) || isOwed(cleaning, since, facts.now);
  if (owed) tellCleaned(report, cleaning.left);
  return { ...waitFor(cleaning), done: owed || cleaning.left.length === 0 };
}

function hasDebt({ current }: Report): boolean {
  return current.conditions?.some(({ type, reason }) => type === 'TargetCleaned' && reason === 'Owed') ?? false;
}

/** An agent that is there has had the time to say how its QEMU ended, or its node is fenced and it never will. */
export function neverSpeaks(
  pod: PodFacts,
  agent: ControllerFacts['agents']['source'],
  since: number,
  now: number,
): boolean {
  return pod.fenced !== undefined || expired(since, limits.agentSpeaks, now, [agent]);
}
