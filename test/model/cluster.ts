/** The kubelets, the scheduler, and the VM's own reconciler. */

import { releasePod } from './controller-effects.ts';
import { calmly, type Emit } from './emit.ts';
import { gone, sourcePodReference, targetPodReference } from './objects.ts';
import { endSource, endTarget } from './qemu.ts';
import { attempts, Lock, Node, Owner, Pod, podExists, Qemu, Run, VmWish, vm, type World } from './world.ts';

export function kubelets(w: World, on: Emit): void {
  const happens = calmly(w, on);
  const { source } = w;
  if (source.node !== Node.dead) {
    if (source.qemu === Qemu.up && (source.pod & Pod.deleting) !== 0)
      happens(
        () => "the source's kubelet ends the QEMU of the deleted pod",
        (next) => endSource(next, 'the deletion of its pod'),
      );
    if (source.qemu === Qemu.gone && (source.pod & Pod.terminated) === 0)
      happens(
        () => "the source's kubelet reports that QEMU has ended",
        (next) => {
          next.source.pod |= Pod.terminated | (next.source.exit === 0 ? Pod.exitedCleanly : 0);
        },
      );
  }
  for (const attempt of attempts) targetKubelet(w, attempt, happens);
}

function targetKubelet(w: World, attempt: number, happens: ReturnType<typeof calmly>): void {
  const target = w.target(attempt);
  const { pod } = target;
  if ((pod & Pod.exists) === 0 || (pod & Pod.removed) !== 0) return;
  if ((pod & Pod.again) !== 0) {
    // Its agent refuses it at once; what matters is that it goes.
    if ((pod & Pod.terminated) === 0 && target.node !== Node.dead)
      happens(
        () => 'the pod that came late is refused by its agent, and ends',
        (next) => {
          next.target(attempt).pod |= Pod.placed | Pod.terminated;
        },
      );
    return;
  }
  if ((pod & (Pod.placed | Pod.deleting)) === 0)
    happens(
      () => 'the target pod is scheduled',
      (next) => {
        next.target(attempt).pod |= Pod.placed;
      },
    );
  if ((pod & Pod.placed) === 0 || target.node === Node.dead) return;
  if (target.qemu === Qemu.notYet && (pod & Pod.deleting) === 0 && target.node === Node.up)
    happens(
      () => "the target's QEMU starts",
      (next) => {
        const started = next.target(attempt);
        started.qemu = Qemu.up;
        started.run = Run.inmigrate;
      },
    );
  if (target.qemu === Qemu.up && (pod & Pod.deleting) !== 0)
    happens(
      () => "the target's kubelet ends the QEMU of the deleted pod",
      (next) => endTarget(next, attempt, 'the deletion of its pod'),
    );
  const over =
    target.qemu === Qemu.gone ||
    (target.qemu === Qemu.notYet && ((pod & Pod.deleting) !== 0 || target.node === Node.rebooted));
  if (over && (pod & Pod.terminated) === 0)
    happens(
      () => "the target's kubelet reports that QEMU has ended",
      (next) => {
        const ended = next.target(attempt);
        ended.qemu = Qemu.gone;
        ended.pod |= Pod.terminated;
      },
    );
}

const isGone = (pod: number) =>
  (pod & (Pod.terminated | Pod.fenced)) !== 0 || ((pod & Pod.placed) === 0 && (pod & Pod.deleting) !== 0);

/** `virtualMachineStep` in the abstract, on the copies that the controller has; see `src/controller/virtual-machine/decide.ts`. */
export function virtualMachineReconciler(w: World, on: Emit, whileLocked: boolean): void {
  const { controller, common } = w;
  const happens = calmly(w, on);
  const code = controller.vm;
  const seen = [controller.sourcePod, controller.firstPod, controller.secondPod];
  const owner = vm.owner(code);
  const lock = vm.lock(code);
  if (lock === Lock.held && controller.seen === gone) {
    const others = seen.some((pod, index) => index > 0 && index !== owner && podExists(pod));
    if (!others && code === common.vm)
      happens(
        () => "the VM's controller undoes a lock that nobody holds any more",
        (next) => {
          next.common.vm = vm.of(owner, Lock.released, vm.wish(code));
          next.controller.vm = next.common.vm;
        },
      );
  }
  if ((lock === Lock.held && !whileLocked) || lock === Lock.others) return;
  seen.forEach((pod, index) => {
    if (index === owner || !podExists(pod) || !isGone(pod)) return;
    happens(
      () => "the VM's controller releases an old pod that has ended",
      (next) => {
        const uid = index === 0 ? sourcePodReference.uid : targetPodReference(index).uid;
        releasePod(next, { uid, resourceVersion: String(pod) });
      },
    );
  });
  const placed = seen[owner];
  if (owner === Owner.restarted || placed === undefined || !isGone(placed) || !podExists(placed)) return;
  if (vm.wish(code) !== VmWish.none || code !== common.vm) return;
  if (seen.some((pod, index) => index !== owner && podExists(pod) && !isGone(pod))) return;
  happens(
    () => "the VM's controller starts the VM again from its disks",
    (next) => {
      next.common.vm = vm.of(Owner.restarted, lock, vm.wish(code));
      next.controller.vm = next.common.vm;
      next.must(lock !== Lock.held, 'rule 9: the VM is started again while a migration holds it');
      // One that has received nothing yet is told to run by nobody any more.
      const alive = [next.source, ...next.targets].some(({ qemu, run }) => qemu === Qemu.up && run !== Run.inmigrate);
      next.must(!alive, 'I1: the VM is started again while an old copy of it is there');
    },
  );
}
