/** What the effects of the migration's controller do to the world. */
import type { ControllerEffect } from '../../src/migration/controller-facts.ts';
import { names } from './controller-decision.ts';
import { gone, sourcePodReference, versions } from './objects.ts';
import { Lock, Owner, Pod, Qemu, Run, vm, type World } from './world.ts';

/** @param copy of the VM's object on which the leader acts, and `seen` of the migration's. */
export function act(w: World, effect: ControllerEffect, copy: number, seen: number): void {
  const { common } = w;
  const swaps = copy === common.vm;
  switch (effect.kind) {
    case 'addFinalizer':
      return;
    case 'deleteMigration':
      throw new Error('no migration of the model has a time to live');
    case 'lockVirtualMachine': {
      const free = vm.lock(copy) === Lock.never || vm.lock(copy) === Lock.released;
      if (swaps && free && vm.owner(copy) !== Owner.restarted)
        setVm(w, vm.of(vm.owner(copy), Lock.held, vm.wish(copy)));
      return;
    }
    case 'createTargetPod': {
      const target = w.target(effect.attempt);
      if (target.pod === 0) target.pod = Pod.exists;
      else if ((target.pod & Pod.removed) !== 0) target.pod = Pod.exists | Pod.again;
      return;
    }
    case 'moveOwnership': {
      const [from, to] = [effect.fromPodUID, effect.to.podUID].map((pod) => names.findIndex(({ uid }) => uid === pod));
      if (swaps && vm.lock(copy) === Lock.held && vm.owner(copy) === from)
        setVm(w, vm.of(to ?? 0, Lock.held, vm.wish(copy)));
      return;
    }
    case 'deletePod':
      deletePod(w, effect.pod);
      return;
    case 'releasePod':
      releasePod(w, effect.pod);
      return;
    case 'unlockVirtualMachine':
      if (!swaps || vm.lock(copy) !== Lock.held) return;
      mayUnlock(w);
      setVm(w, vm.of(vm.owner(copy), Lock.released, vm.wish(copy)));
      return;
    case 'removeFinalizer':
      if (seen === common.object) {
        common.object = gone;
        w.controller.seen = gone;
      }
      return;
  }
}

function setVm(w: World, code: number): void {
  w.common.vm = code;
  w.controller.vm = code;
}

interface Reference {
  uid: string;
  resourceVersion: string;
}

/** The pod, if it is as it was when it was judged. */
function find(w: World, { uid, resourceVersion }: Reference): { pod: number } | undefined {
  const index = names.findIndex((name) => name.uid === uid);
  const side = index === 0 ? w.source : w.target(index);
  return String(side.pod) === resourceVersion ? side : undefined;
}

function deletePod(w: World, reference: Reference): void {
  const side = find(w, reference);
  if (side !== undefined) side.pod |= Pod.deleting;
}

export function releasePod(w: World, reference: Reference): void {
  const side = find(w, reference);
  if (side === undefined) return;
  const { qemu } = reference.uid === sourcePodReference.uid ? w.source : (side as World['targets'][0]);
  w.must(qemu !== Qemu.up, 'I5: the pod of a living QEMU is released');
  side.pod |= Pod.deleting | Pod.removed;
}

/** From here on the VM is started again if the pod that its placement names has ended. */
function mayUnlock(w: World): void {
  const { common, source, targets } = w;
  const owner = vm.owner(common.vm);
  const { status } = versions.at(w.controller.seen === gone ? common.object : w.controller.seen);
  const owed =
    status?.conditions?.some(({ type, status: value }) => type.endsWith('Cleaned') && value === 'False') ?? false;
  const losers = [...(owner === Owner.source ? [] : [source]), ...targets.filter((_, index) => owner !== index + 1)];
  // A target that has received nothing, created by a leader that had slept, is nobody's loss; its node's agent ends it.
  w.must(
    losers.every(({ qemu, run }) => qemu !== Qemu.up || owed || run === Run.inmigrate),
    'I5: the lock is released while a losing QEMU lives of which nobody knows',
  );
  w.must(
    losers.every(({ qemu, run }) => qemu !== Qemu.up || run !== Run.running),
    'I1: the lock is released while the losing QEMU runs the guest',
  );
}
