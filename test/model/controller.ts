/** What the controller reads before it decides on the migration, and what its effects do to the world. */
import { controllerPending, type Decision, decide, everything } from './controller-decision.ts';
import { act } from './controller-effects.ts';
import { tellEffect } from './effects.ts';
import type { Emit, Say } from './emit.ts';
import type { Model } from './model.ts';
import { gone, nodes, versions } from './objects.ts';
import { sourceIsIdle } from './source-agent.ts';
import { targetIsIdle } from './target-agent.ts';
import { Node, Owner, Pod, vm, type World } from './world.ts';

const does: Say = (number) => `the controller acts: ${tellEffect(controllerPending.first(number))}`;
const phase = (number: number) => {
  const { status } = versions.at(number);
  const abort = status?.abort?.sourceGone ? ', the source gone' : '';
  const moved = status?.owner === undefined ? '' : ', owner moved';
  return `${status?.phase} (${status?.reason}${status?.plan === undefined ? '' : ', plan'}${status?.abort === undefined ? '' : `, abort${abort}`}${moved})`;
};
const saves: Say = (number) => `the controller looks, and saves ${phase(number)}`;
const savesLate: Say = (number) => `a deadline of the controller passes; it saves ${phase(number)}`;
const decides: Say = (number) => `the controller looks, and decides to ${controllerPending.tell(number)}`;
const decidesLate: Say = (number) =>
  `a deadline of the controller passes; it decides to ${controllerPending.tell(number)}`;
const learnsAll: Say = () => "the controller's copies of everything are up to date";
const learnsObject: Say = () => 'the controller gets the newest migration object, and nothing else';
const learnsVm: Say = () => 'the controller gets the newest VM object, and nothing else';
const learnsPods: Say = () => 'the controller gets the newest pods, and nothing else';
const crashes: Say = () => 'the controller crashes, and another begins';
const sleeps: Say = (number) => `the leader falls asleep before it could ${controllerPending.tell(number)}`;
const wakes: Say = (number) => `the leader that slept wakes, and acts: ${controllerPending.tell(number)}`;

function isFresh({ controller, source, targets, common }: World): boolean {
  return (
    controller.seen === common.object &&
    controller.vm === common.vm &&
    controller.sourcePod === source.pod &&
    controller.firstPod === targets[0].pod &&
    controller.secondPod === targets[1].pod
  );
}

function learnPods({ controller, source, targets }: World): void {
  controller.sourcePod = source.pod;
  controller.firstPod = targets[0].pod;
  controller.secondPod = targets[1].pod;
}

function learnVmAndPods(w: World): void {
  w.controller.vm = w.common.vm;
  learnPods(w);
}

/** Whoever takes over lists everything first. */
function learnAll(w: World): void {
  w.controller.seen = w.common.object;
  learnVmAndPods(w);
}

/** Everything that the migration's controller can do next. */
export function controller(model: Model, w: World, on: Emit): void {
  const { common } = w;
  const mine = w.controller;
  if (mine.asleep !== 0) {
    const next = on.begin(w);
    wake(next);
    on.calm(wakes, mine.asleep);
  }
  const fresh = isFresh(w);
  if (!fresh) catchUp(w, on);
  if (mine.pending !== 0) {
    const next = on.begin(w);
    next.controller.pending = controllerPending.rest(mine.pending);
    const effect = controllerPending.first(mine.pending);
    act(next, effect, mine.vm, mine.seen);
    // The API server's answer goes into its copies.
    if (effect.kind === 'createTargetPod') learnPods(next);
    on.calm(does, mine.pending);
    faults(model, w, on);
    return;
  }
  if (mine.seen === gone || beginsAnew(w)) return;
  const now = decide(model, w, 0, true, true);
  carryOut(w, now, fresh ? on.calm : on.other, on, 0, saves, decides);
  const price = model.priceOf('deadline', common.faults);
  if (price !== undefined) {
    for (let late = 1; late < everything; late++) {
      const then = decide(model, w, late, true, true);
      if (then !== now) carryOut(w, then, on.other, on, price, savesLate, decidesLate);
    }
    for (const [source, target] of whoMayBeThere(model, w)) {
      const then = decide(model, w, everything, source, target);
      if (then !== now) carryOut(w, then, on.other, on, price, savesLate, decidesLate);
    }
  }
  if (on.resting && fresh) timePasses(model, w, on);
}

/** The VM was started again before the migration began with it: then that begins with the new pod, and all is as at the beginning. */
function beginsAnew({ controller, common }: World): boolean {
  return vm.owner(common.vm) === Owner.restarted && versions.at(controller.seen).status?.sourcePod === undefined;
}

/** Nothing else happens: one limit after the other expires, with those there who are. */
function timePasses(model: Model, w: World, on: Emit): void {
  const attempt = versions.at(w.controller.seen).status?.attempt ?? 1;
  for (let late = 1; late <= everything; late++) {
    const sourceThere = late < everything || w.source.node !== Node.dead;
    const targetThere = late < everything || w.target(attempt).node !== Node.dead;
    const then = decide(model, w, late, sourceThere, targetThere);
    if (then.saves === 0 && then.effects === 0) continue;
    carryOut(w, then, on.atRest, on, 0, savesLate, decidesLate);
    return;
  }
}

const bothOrNot = [false, true];

function* whoMayBeThere(model: Model, w: World): Generator<[boolean, boolean]> {
  const attempt = versions.at(w.controller.seen).status?.attempt ?? 1;
  for (const source of bothOrNot) {
    if (source && !sourceIsIdle(model, w)) continue;
    for (const target of bothOrNot) {
      if (!target || targetIsIdle(model, w, attempt)) yield [source, target];
    }
  }
}

function carryOut(
  w: World,
  { saves: saved, effects, ends }: Decision,
  emit: Emit['calm'],
  on: Emit,
  price: number,
  saysSaved: Say,
  saysDecided: Say,
): void {
  if (saved === 0 && effects === 0) return;
  // Its copy is old: the API server refuses to save it, and nothing follows.
  if (saved !== 0 && w.controller.seen !== w.common.object) return;
  const next = on.begin(w);
  if (saved === 0) {
    for (const effect of controllerPending.list(effects)) act(next, effect, w.controller.vm, w.controller.seen);
    if (next.equals(w)) return;
    on.begin(w);
  }
  next.common.faults -= price;
  if (saved !== 0) {
    next.common.object = saved;
    next.controller.seen = saved;
    if (ends !== undefined) checkEnd(next, ends.phase, ends.node);
  }
  next.controller.pending = effects;
  emit(saved === 0 ? saysDecided : saysSaved, saved === 0 ? effects : saved);
}

/** A terminal status says where the VM runs, and there it has to be as far as anybody could know. */
function checkEnd(w: World, ended: string, node: string | undefined): void {
  const winner = w.targets.findIndex(({ reallyContinued }) => reallyContinued !== 0);
  w.must(ended !== 'Succeeded' || winner >= 0, 'I4: Succeeded, and no target has continued the guest');
  if (node === undefined) return;
  const truth = winner < 0 ? nodes.source : nodes.targets[winner];
  w.must(node === truth, 'I4: a terminal status names a node where the VM does not run');
  const pod = winner < 0 ? w.controller.sourcePod : winner === 0 ? w.controller.firstPod : w.controller.secondPod;
  w.must((pod & Pod.terminated) === 0, 'I4: a terminal status names a node where the VM is known to have ended');
}

function catchUp(w: World, on: Emit): void {
  const { common } = w;
  const mine = w.controller;
  const all = on.begin(w);
  if (mine.pending === 0) learnAll(all);
  else learnVmAndPods(all);
  on.calm(learnsAll);
  const podsNew =
    mine.sourcePod === w.source.pod && mine.firstPod === w.targets[0].pod && mine.secondPod === w.targets[1].pod;
  const news = (mine.seen === common.object ? 0 : 1) + (mine.vm === common.vm ? 0 : 1) + (podsNew ? 0 : 1);
  if (news < 2) return;
  if (mine.seen !== common.object && mine.pending === 0) {
    on.begin(w).controller.seen = common.object;
    on.other(learnsObject);
  }
  if (mine.vm !== common.vm) {
    on.begin(w).controller.vm = common.vm;
    on.other(learnsVm);
  }
  if (!podsNew) {
    learnPods(on.begin(w));
    on.other(learnsPods);
  }
}

function faults(model: Model, w: World, on: Emit): void {
  const price = model.priceOf('controller crashes', w.common.faults);
  if (price !== undefined) {
    const next = on.begin(w);
    next.common.faults -= price;
    next.controller.pending = 0;
    learnAll(next);
    on.other(crashes);
  }
  const sleep = w.controller.asleep === 0 ? model.priceOf('leader sleeps', w.common.faults) : undefined;
  if (sleep !== undefined) {
    const next = on.begin(w);
    next.common.faults -= sleep;
    next.controller.asleep = w.controller.pending;
    next.controller.asleepVm = w.controller.vm;
    next.controller.asleepSeen = w.controller.seen;
    next.controller.pending = 0;
    learnAll(next);
    on.other(sleeps, w.controller.pending);
  }
}

function wake(w: World): void {
  const { asleep, asleepVm, asleepSeen } = w.controller;
  w.controller.asleep = 0;
  w.controller.asleepVm = 0;
  w.controller.asleepSeen = 0;
  for (const effect of controllerPending.list(asleep)) act(w, effect, asleepVm, asleepSeen);
}
