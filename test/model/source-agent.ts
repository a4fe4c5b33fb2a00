/** What the source's agent reads before it decides, and what its effects do to the world. */
import type { TargetVerdict } from '../../src/migration/evidence.ts';
import { tellEffect } from './effects.ts';
import type { Emit, Say } from './emit.ts';
import type { Model } from './model.ts';
import { gone, queues, seenBySource, seenByTarget, withoutContradiction } from './objects.ts';
import { arrival, type Writer, write } from './publisher.ts';
import { endSource, partner } from './qemu.ts';
import { act, crash, say } from './source-effects.ts';
import { decide, sourcePending, truePath, unclearPaths, works } from './source-facts.ts';
import { Issued, Migration, Node, Owner, Qemu, Run, targetVerdicts, vm, World } from './world.ts';

/** Whether it has nothing to do and knows everything: an agent of which the controller may say that it was there and had its time. */
export function sourceIsIdle(model: Model, w: World): boolean {
  const { source, common } = w;
  if (source.node === Node.dead) return false;
  if (source.seen !== common.object || source.pending !== 0 || source.queue !== 0) return false;
  return !works(w) || changesNothing(w, decide(model, w, truePath(w), false));
}

const trial = new World();

/** It only asks again, or says again, what was heard already. */
function changesNothing(w: World, decision: number): boolean {
  trial.copy(w);
  for (const effect of sourcePending.list(decision)) act(trial, effect, false);
  return trial.equals(w);
}

const does: Say = (number) => `the source's agent acts: ${tellEffect(sourcePending.first(number))}`;
const decides: Say = (number) => `the source's agent looks, and decides to ${sourcePending.tell(number)}`;
const decidesOnOld: Say = (number) =>
  `the source's agent, with an old copy of the object, decides to ${sourcePending.tell(number)}`;
const decidesLate: Say = (number) =>
  `a deadline of the source's agent passes; it decides to ${sourcePending.tell(number)}`;
const decidesUnclear: Say = (number) =>
  `the source's agent has an outdated idea of the way to the target, and decides to ${sourcePending.tell(number)}`;
const learnsAndDecides: Say = (number) =>
  `the source's agent gets the newest object, and decides to ${sourcePending.tell(number)}`;
const learns: Say = () => "the source's agent gets the newest object";
const hears: Say = (number) => `the source's agent hears directly from the target's: ${targetVerdicts[number]}`;
const crashes: Say = () => "the source's agent crashes, and starts again";
const tidies: Say = () => "the source's agent tidies its QEMU up before it forgets the attempt";
const leftEnds: Say = () => "the source node's agent ends a QEMU that has handed its guest over";

const writer: Writer = {
  side: 'source',
  of: ({ source }) => source,
  sequence: ({ source }) => seenBySource(source.seen).seen.side?.sequence,
  see,
};

/** Everything that the source's agent can do next. */
export function sourceAgent(model: Model, w: World, on: Emit): void {
  const { source, common } = w;
  arrival(w, writer, on);
  if (source.node === Node.dead) return;
  write(model, w, writer, on);
  if (source.pending !== 0) {
    const next = on.begin(w);
    next.source.pending = sourcePending.rest(source.pending);
    act(next, sourcePending.first(source.pending), model.configuration.encrypted ?? false);
    say(next);
    on.calm(does, source.pending);
  } else {
    decisions(model, w, on);
  }
  const volatile = source.pending !== 0 || source.queue !== 0 || source.heard !== 0;
  const price = volatile ? model.priceOf('source agent crashes', common.faults) : undefined;
  if (price !== undefined) {
    const next = on.begin(w);
    next.common.faults -= price;
    crash(next);
    on.other(crashes);
  }
}

function decisions(model: Model, w: World, on: Emit): void {
  const { source, common } = w;
  if (source.seen !== common.object) {
    if (works(w)) begin(w, decide(model, w, truePath(w), false), decidesOnOld, on.other, on);
    const next = on.begin(w);
    see(next);
    const decision = works(next) ? decide(model, next, truePath(next), false) : 0;
    if (decision === 0) on.calm(learns);
    else {
      next.source.pending = decision;
      say(next);
      on.calm(learnsAndDecides, decision);
    }
    return;
  }
  if (!works(w)) {
    tidyUp(w, on);
    leftSource(w, on);
    return;
  }
  const path = truePath(w);
  const decision = decide(model, w, path, false);
  begin(w, decision, decides, on.calm, on);
  const hint = model.priceOf('path unclear', common.faults);
  if (hint !== undefined) {
    for (const other of unclearPaths) {
      const believed = other === path ? 0 : decide(model, w, other, false);
      if (believed !== decision) begin(w, believed, decidesUnclear, on.other, on, hint);
    }
  }
  const overdue = decide(model, w, path, true);
  if (overdue !== decision) {
    const price = model.priceOf('deadline', common.faults);
    if (price !== undefined) begin(w, overdue, decidesLate, on.other, on, price);
    begin(w, overdue, decidesLate, on.atRest, on);
  }
  hear(w, on);
}

function begin(w: World, decision: number, how: Say, emit: Emit['calm'], on: Emit, price = 0): void {
  if (decision === 0 || changesNothing(w, decision)) return;
  const next = on.begin(w);
  next.common.faults -= price;
  next.source.pending = decision;
  say(next);
  emit(how, decision);
}

/** The newest object: another attempt begins with an empty journal, and nothing of the old one is said any more. */
function see(w: World): void {
  const { source, common } = w;
  source.seen = common.object;
  const { seen } = seenBySource(source.seen);
  if (seen.attempt !== source.attempt && source.seen !== gone) {
    source.attempt = seen.attempt;
    source.issued = Issued.no;
    source.cancel = 0;
    source.aborted = 0;
    source.told = 0;
    source.tidied = 0;
    source.heard = 0;
    source.handover = 0;
    source.asksRefusal = 0;
  }
  if (!seen.works || (source.queue !== 0 && queues.at(source.queue).attempt !== seen.attempt)) {
    source.queue = 0;
    source.heard = 0;
  }
  source.queue = withoutContradiction(source.queue, seen.side?.verdict);
}

/** What the target's agent would answer; 0 for no verdict. */
function verdictOfTarget(w: World, attempt: number): number {
  const { seen, queue } = w.target(attempt);
  const said = queue === 0 ? undefined : queues.at(queue).fields.verdict;
  const verdict = said ?? seenByTarget(attempt)(seen).seen.side?.verdict;
  return Math.max(0, targetVerdicts.indexOf(verdict as TargetVerdict | undefined));
}

/** Answers to calls and to pings carry the target's verdict. */
function hear(w: World, on: Emit): void {
  const { source } = w;
  const target = partner(w);
  if (source.heard !== 0 || target.node === Node.dead) return;
  const verdict = verdictOfTarget(w, source.attempt);
  if (verdict === 0) return;
  const next = on.begin(w);
  next.source.heard = verdict;
  on.calm(hears, verdict);
}

/** What was over before it could be tidied is tidied before it is forgotten. */
function tidyUp(w: World, on: Emit): void {
  const { source } = w;
  if (source.traces === 0 || source.qemu !== Qemu.up || source.frozen !== 0) return;
  const next = on.begin(w);
  next.source.traces = 0;
  next.source.tidied = 1;
  on.calm(tidies);
}

/** A pod whose migration is over, at its node: the placement names another pod, and the guest has been handed over. */
function leftSource(w: World, on: Emit): void {
  const { source } = w;
  if (source.qemu !== Qemu.up || vm.owner(w.common.vm) === Owner.source) return;
  if (source.run !== Run.postmigrate || source.migration !== Migration.completed) return;
  const next = on.begin(w);
  endSource(next, "the source's agent");
  on.calm(leftEnds);
}
