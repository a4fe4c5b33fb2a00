/** Everything that can happen next, and how it all begins. */
import { kubelets, virtualMachineReconciler } from './cluster.ts';
import { controller } from './controller.ts';
import { Emit } from './emit.ts';
import { engines } from './engines.ts';
import { misfortunes, wanted } from './misfortunes.ts';
import type { Configuration, Model } from './model.ts';
import { firstVersion, seenBySource, seenByTarget } from './objects.ts';
import { sourceAgent } from './source-agent.ts';
import { States } from './states.ts';
import { targetAgent } from './target-agent.ts';
import { Issued, Lock, Migration, migrationStates, Owner, Pod, Qemu, Run, VmWish, vm, World } from './world.ts';

export function happenings(model: Model, w: World, on: Emit): void {
  engines(w, model.configuration.postCopy ?? false, on);
  kubelets(w, on);
  sourceAgent(model, w, on);
  targetAgent(model, w, 1, on);
  targetAgent(model, w, 2, on);
  controller(model, w, on);
  virtualMachineReconciler(w, on, model.configuration.startsWhileLocked ?? false);
  if (on.resting) return;
  misfortunes(model, w, on);
  if (w.common.wishes > 0 || vm.lock(w.common.vm) === Lock.others) wanted(model, w, on);
}

/** The state from which a configuration is explored. */
export function beginning(model: Model): World {
  const { configuration } = model;
  const { from = 'the beginning', faults = 0, wishes = 0 } = configuration;
  const w = from === 'the beginning' ? fresh(configuration) : undisturbed(model, reached[from]);
  w.common.faults = faults;
  w.common.wishes = wishes;
  return w;
}

const reached = {
  transferring: ({ source }: World) => source.migration === Migration.active,
  'switching over': ({ source }: World) => source.migration === Migration['pre-switchover'],
  'the source complete': ({ source }: World) =>
    source.migration === Migration['postcopy-active'] ||
    (source.migration === Migration.completed && source.run === Run.postmigrate),
};

/** The first state on the undisturbed way of which this is true, with nobody about to do anything. */
function undisturbed(model: Model, isReached: (w: World) => boolean): World {
  const begin = fresh(model.configuration);
  const found = new States(begin.bytes);
  found.add(begin.words);
  const here = new World();
  const emit = new Emit(new World(), (next, calm) => {
    settle(next);
    if (calm) found.add(next.words);
  });
  for (let index = 0; index < found.size; index++) {
    found.read(index, here.words);
    if (isReached(here) && everybodyKnows(here)) return here;
    happenings(model, here, emit);
  }
  throw new Error('it is never reached');
}

function everybodyKnows({ common, controller, source, targets }: World): boolean {
  const parties = [source, targets[0]];
  return (
    [controller, ...parties].every(({ seen, pending }) => seen === common.object && pending === 0) &&
    parties.every(({ queue }) => queue === 0) &&
    controller.firstPod === targets[0].pod
  );
}

function fresh({ guest = 'running', earlier = 'none', backoffLimit = 0 }: Configuration): World {
  const w = new World();
  const { common, source } = w;
  common.vm = vm.of(Owner.source, Lock.never, VmWish.none);
  common.object = firstVersion(backoffLimit);
  source.qemu = Qemu.up;
  source.run = { running: Run.running, paused: Run.paused, returned: Run.postmigrate }[guest];
  source.migration = guest === 'returned' ? Migration.completed : migrationStates.indexOf(earlier);
  source.issued = Issued.no;
  source.pod = Pod.exists | Pod.placed;
  for (const party of [w.controller, source, ...w.targets]) party.seen = common.object;
  w.controller.vm = common.vm;
  w.controller.sourcePod = source.pod;
  return w;
}

/** States that nobody can tell apart, neither now nor later, become one. */
export function settle(w: World): void {
  const { source, common } = w;
  if (source.seen !== common.object && sameForSource(source.seen, common.object)) source.seen = common.object;
  for (const attempt of [1, 2]) {
    const target = w.target(attempt);
    if (target.seen === common.object) continue;
    const look = seenByTarget(attempt);
    if (look(target.seen).number === look(common.object).number) target.seen = common.object;
  }
}

function sameForSource(old: number, latest: number): boolean {
  return seenBySource(old).number === seenBySource(latest).number;
}
