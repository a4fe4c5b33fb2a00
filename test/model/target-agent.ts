/** What the agent of a target reads before it decides, and what its effects do to the world. */
import { tellEffect } from './effects.ts';
import type { Emit, Say } from './emit.ts';
import type { Model } from './model.ts';
import { seenByTarget, withoutContradiction } from './objects.ts';
import { arrival, type Writer, write } from './publisher.ts';
import { isOnlyCopy } from './qemu.ts';
import { act, crashTarget, say } from './target-effects.ts';
import { decide, decideLeft, Heard, targetPending, works } from './target-facts.ts';
import { Node, Owner, Pod, Qemu, vm, World } from './world.ts';

/** Whether it has nothing to do and knows everything. */
export function targetIsIdle(model: Model, w: World, attempt: number): boolean {
  const target = w.target(attempt);
  if (target.node === Node.dead) return false;
  if (target.seen !== w.common.object || target.pending !== 0 || target.queue !== 0) return false;
  const heardAll = w.source.handover === 0 || target.heard !== Heard.no || w.source.attempt !== attempt;
  return heardAll && (!works(target, attempt) || changesNothing(w, attempt, decide(model, target, attempt)));
}

const trial = new World();

function changesNothing(w: World, attempt: number, decision: number): boolean {
  trial.copy(w);
  for (const effect of targetPending.list(decision)) act(trial, attempt, effect);
  return trial.equals(w);
}

const does: Say = (number) => `the target's agent acts: ${tellEffect(targetPending.first(number))}`;
const decides: Say = (number) => `the target's agent looks, and decides to ${targetPending.tell(number)}`;
const decidesOnOld: Say = (number) =>
  `the target's agent, with an old copy of the object, decides to ${targetPending.tell(number)}`;
const judges: Say = (number) =>
  `the target node's agent judges a pod that is left, and decides to ${targetPending.tell(number)}`;
const learnsAndDecides: Say = (number) =>
  `the target's agent gets the newest object, and decides to ${targetPending.tell(number)}`;
const tidies: Say = () => "the target's agent tidies its QEMU up before it forgets the attempt";
const learns: Say = () => "the target's agent gets the newest object";
const hears: Say = () => "the target's agent hears directly that the source is complete, and notes it";
const asked: Say = () => "the target's agent is asked by the source's to refuse";
const crashes: Say = () => "the target's agent crashes, and starts again";

const writerOf = (attempt: number): Writer => ({
  side: 'target',
  of: (w) => w.target(attempt),
  sequence: (w) => seenByTarget(attempt)(w.target(attempt).seen).seen.side?.sequence,
  see: (w) => see(w, attempt),
});
const writers = [writerOf(1), writerOf(2)] as const;

/** Everything that this agent can do next. */
export function targetAgent(model: Model, w: World, attempt: number, on: Emit): void {
  const target = w.target(attempt);
  const writer = attempt === 2 ? writers[1] : writers[0];
  arrival(w, writer, on);
  if ((target.pod & Pod.placed) === 0 || target.node === Node.dead) return;
  write(model, w, writer, on);
  receive(w, attempt, on);
  if (target.pending !== 0) {
    const next = on.begin(w);
    next.target(attempt).pending = targetPending.rest(target.pending);
    act(next, attempt, targetPending.first(target.pending));
    say(next, attempt);
    on.calm(does, target.pending);
  } else if (target.seen !== w.common.object) {
    if (works(target, attempt)) begin(w, attempt, decide(model, target, attempt), decidesOnOld, on.other, on);
    const next = on.begin(w);
    see(next, attempt);
    const newer = next.target(attempt);
    const decision = works(newer, attempt) ? decide(model, newer, attempt) : 0;
    if (decision === 0) on.calm(learns);
    else {
      resolve(next, attempt, decision);
      on.calm(learnsAndDecides, decision);
    }
  } else if (works(target, attempt)) {
    begin(w, attempt, decide(model, target, attempt), decides, on.calm, on);
  } else {
    left(model, w, attempt, on);
  }
  const volatile = target.pending !== 0 || target.queue !== 0 || target.refusalAsked !== 0;
  const price = volatile ? model.priceOf('target agent crashes', w.common.faults) : undefined;
  if (price !== undefined) {
    const next = on.begin(w);
    next.common.faults -= price;
    crashTarget(next.target(attempt));
    on.other(crashes);
  }
}

function begin(w: World, attempt: number, decision: number, how: Say, emit: Emit['calm'], on: Emit): void {
  if (decision === 0 || changesNothing(w, attempt, decision)) return;
  resolve(on.begin(w), attempt, decision);
  emit(how, decision);
}

function resolve(w: World, attempt: number, decision: number): void {
  const refuses = targetPending.first(decision).kind === 'recordRefused';
  w.must(
    !refuses || !isOnlyCopy(w, attempt),
    'I2: the target refuses, the only copy left, although the source had told',
  );
  w.target(attempt).pending = decision;
  say(w, attempt);
}

function see(w: World, attempt: number): void {
  const target = w.target(attempt);
  const worked = works(target, attempt);
  target.seen = w.common.object;
  const { seen } = seenByTarget(attempt)(target.seen);
  target.queue = withoutContradiction(target.queue, seen.side?.verdict);
  if (seen.works) return;
  target.queue = 0;
  target.refusalAsked = 0;
  // What was heard serves the attempt alone, and is forgotten with it.
  if (worked) target.heard = Heard.no;
}

/** What the source's agent says directly reaches only an agent that works on that attempt. */
function receive(w: World, attempt: number, on: Emit): void {
  const { source } = w;
  const target = w.target(attempt);
  if (source.attempt !== attempt || !works(target, attempt)) return;
  if (source.handover !== 0 && target.heard === Heard.no) {
    on.begin(w).target(attempt).heard = source.handover;
    on.calm(hears);
  }
  if (source.asksRefusal !== 0 && target.refusalAsked === 0) {
    on.begin(w).target(attempt).refusalAsked = source.asksRefusal;
    on.calm(asked);
  }
}

/** It asks the API server itself, and so decides on the newest object. */
function left(model: Model, w: World, attempt: number, on: Emit): void {
  const target = w.target(attempt);
  const { seen } = seenByTarget(attempt)(target.seen);
  // What was over before it could be tidied is tidied before it is forgotten.
  if (target.traces !== 0 && target.qemu === Qemu.up && target.continued !== 0) {
    const next = on.begin(w);
    next.target(attempt).traces = 0;
    next.target(attempt).tidied = 1;
    on.calm(tidies);
  }
  if (
    !seen.over ||
    seen.accounted ||
    vm.owner(w.common.vm) === (attempt === 2 ? Owner.secondTarget : Owner.firstTarget)
  )
    return;
  begin(w, attempt, decideLeft(model, target), judges, on.calm, on);
}
