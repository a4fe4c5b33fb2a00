/** What can go wrong with the machines and between them, and what people and the guest may want. */
import { type Change, calmly, type Emit, type Say } from './emit.ts';
import type { FaultKind, Model } from './model.ts';
import { gone, versions } from './objects.ts';
import { sourceEnds, targetEnds } from './qemu.ts';
import { crash } from './source-effects.ts';
import { crashTarget } from './target-effects.ts';
import {
  attempts,
  Connection,
  Lock,
  Migration,
  Node,
  Pod,
  podExists,
  Qemu,
  Run,
  VmWish,
  vm,
  type World,
} from './world.ts';

const says = {
  sourceDies: () => "the source's QEMU is killed",
  targetDies: () => "the target's QEMU is killed",
  sourceNodeDies: () => 'the source node dies, with everything on it',
  targetNodeDies: () => 'the target node dies, with everything on it',
  sourceBoots: () => 'the source node boots again, and knows nothing any more',
  targetBoots: () => 'the target node boots again, and knows nothing any more',
  sourceFenced: () => 'the operator, who has seen the source node off, says that it is fenced',
  targetFenced: () => 'the operator, who has seen the target node off, says that it is fenced',
  lost: () => 'the connection between the QEMUs breaks',
  hole: () => 'nothing passes between the QEMUs any more, and nobody is told',
  heals: () => 'it passes again between the QEMUs',
  times: () => 'TCP gives the silent connection up',
  silent: () => "the target's QEMU stands still (SIGSTOP)",
  wakes: () => "the target's QEMU goes on (SIGCONT)",
} satisfies Record<string, Say>;

export function misfortunes(model: Model, w: World, on: Emit): void {
  const { source, common } = w;
  const happens = calmly(w, on);
  const fault = (kind: FaultKind, say: Say, change: Change) => {
    const price = model.priceOf(kind, common.faults);
    if (price === undefined) return;
    const next = on.begin(w);
    next.common.faults -= price;
    change(next);
    on.other(say);
  };
  if (source.qemu === Qemu.up) fault('source QEMU dies', says.sourceDies, (next) => sourceEnds(next, 137));
  if (source.node === Node.up && podExists(source.pod)) fault('source node dies', says.sourceNodeDies, sourceNodeDies);
  if (source.node === Node.dead) {
    happens(says.sourceBoots, (next) => {
      next.source.node = Node.rebooted;
    });
    if ((source.pod & Pod.fenced) === 0 && podExists(source.pod))
      happens(says.sourceFenced, (next) => {
        next.source.pod |= Pod.fenced;
      });
  }
  for (const attempt of attempts) {
    const target = w.target(attempt);
    if (target.qemu === Qemu.up) {
      fault('target QEMU dies', says.targetDies, (next) => targetEnds(next, next.target(attempt)));
      if (target.silent === 0 && target.run === Run.inmigrate)
        fault('target silent', says.silent, (next) => {
          next.target(attempt).silent = 1;
        });
      if (target.silent !== 0)
        happens(says.wakes, (next) => {
          next.target(attempt).silent = 0;
        });
    }
    if (target.node === Node.up && (target.pod & Pod.placed) !== 0 && podExists(target.pod))
      fault('target node dies', says.targetNodeDies, (next) => targetNodeDies(next, attempt));
    if (target.node === Node.dead) {
      happens(says.targetBoots, (next) => {
        next.target(attempt).node = Node.rebooted;
      });
      if ((target.pod & Pod.fenced) === 0 && podExists(target.pod))
        happens(says.targetFenced, (next) => {
          next.target(attempt).pod |= Pod.fenced;
        });
    }
    if (target.connection === Connection.open) {
      const spread = target.migration === Migration['postcopy-active'];
      const cut = (next: World) => {
        next.target(attempt).connection = Connection.cut;
      };
      // Recovering post-copy is another matter; see the README.
      if (!spread) {
        fault('connection lost', says.lost, cut);
        fault('connection silent', says.hole, (next) => {
          next.target(attempt).connection = Connection.hole;
        });
      }
    }
    if (target.connection === Connection.hole) {
      happens(says.heals, (next) => {
        next.target(attempt).connection = Connection.open;
      });
      happens(says.times, (next) => {
        next.target(attempt).connection = Connection.cut;
      });
    }
  }
}

function sourceNodeDies(w: World): void {
  const { source } = w;
  if (source.qemu === Qemu.up) sourceEnds(w, 137);
  crash(w);
  source.node = Node.dead;
  source.issued = 0;
  source.cancel = 0;
  source.told = 0;
  source.aborted = 0;
  source.tidied = 0;
  source.traces = 0;
}

function targetNodeDies(w: World, attempt: number): void {
  const target = w.target(attempt);
  if (target.qemu === Qemu.up) targetEnds(w, target);
  crashTarget(target);
  target.node = Node.dead;
  target.heard = 0;
  target.continued = 0;
  target.refused = 0;
  target.tidied = 0;
  target.traces = 0;
}

const wishes = {
  cancel: () => 'the owner cancels the migration',
  delete: () => 'the owner deletes the migration',
  stop: () => 'the owner stops the VM',
  remove: () => 'the owner deletes the VM',
  other: () => 'another migration takes the VM',
  otherDone: () => 'the other migration gives the VM back',
  off: () => 'the guest powers itself off',
} satisfies Record<string, Say>;

export function wanted(model: Model, w: World, on: Emit): void {
  const { common, source } = w;
  const happens = calmly(w, on);
  const wish = (say: Say, change: Change) => {
    const next = on.begin(w);
    next.common.wishes--;
    change(next);
    on.other(say);
  };
  const left = common.wishes;
  if (common.object !== gone) {
    const migration = versions.at(common.object);
    if (model.allows('cancel', left) && !migration.spec.cancel)
      wish(wishes.cancel, (next) => {
        next.common.object = versions.of({ ...migration, spec: { ...migration.spec, cancel: true } });
      });
    if (model.allows('delete', left) && migration.metadata.deletionTimestamp === undefined)
      wish(wishes.delete, (next) => {
        const metadata = { ...migration.metadata, deletionTimestamp: migration.metadata.creationTimestamp };
        next.common.object = versions.of({ ...migration, metadata });
      });
  }
  const code = common.vm;
  const [owner, lock] = [vm.owner(code), vm.lock(code)];
  if (vm.wish(code) === VmWish.none) {
    if (model.allows('stop the VM', left))
      wish(wishes.stop, (next) => {
        next.common.vm = vm.of(owner, lock, VmWish.stop);
      });
    if (model.allows('delete the VM', left))
      wish(wishes.remove, (next) => {
        next.common.vm = vm.of(owner, lock, VmWish.delete);
      });
  }
  if (model.allows('another migration', left) && (lock === Lock.never || lock === Lock.released))
    wish(wishes.other, (next) => {
      next.common.vm = vm.of(owner, Lock.others, vm.wish(code));
    });
  if (lock === Lock.others)
    happens(wishes.otherDone, (next) => {
      next.common.vm = vm.of(owner, Lock.never, vm.wish(code));
    });
  if (model.allows('power off', left)) {
    if (source.qemu === Qemu.up && source.run === Run.running) wish(wishes.off, (next) => sourceEnds(next, 0));
    for (const attempt of attempts) {
      const target = w.target(attempt);
      if (target.run === Run.running) wish(wishes.off, (next) => targetEnds(next, next.target(attempt)));
    }
  }
}
