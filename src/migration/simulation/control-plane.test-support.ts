/** What the controller reads before it decides, what it decides, and what its effects do to the world. */
import type { VirtualMachine, VirtualMachineMigration } from '../../api/objects.ts';
import { isTerminal } from '../../api/phases.ts';
import type { ControllerEffect, ControllerFacts, PodFacts } from '../controller-facts.ts';
import {
  bare,
  endSource,
  endTarget,
  metadata,
  must,
  numberOf,
  type Steps,
  version,
  type World,
  withSource,
  withTarget,
} from './world.test-support.ts';

function controllerFacts(w: World, migration: VirtualMachineMigration, now: number): ControllerFacts {
  const { source, target, vm } = w;
  const placement =
    vm.owner === 'source'
      ? { nodeName: 'node-a', podName: 'web-1', podUID: 'source-pod', generation: 1 }
      : { nodeName: 'node-b', podName: 'web-m-move-uid-1', podUID: 'target-pod', generation: 2 };
  const virtualMachine: VirtualMachine = {
    apiVersion: 'vmferry.io/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { ...metadata, name: 'web', uid: 'web-uid' },
    spec: { memory: '1Gi', firmware: { bios: {} } },
    status: { placement, ...(vm.locked ? { migration: { name: 'move', uid: 'move-uid' } } : {}) },
  };
  const ended = { terminated: { exitCode: 137 } };
  const sourcePod: PodFacts = source.removed
    ? { exists: false }
    : {
        exists: true,
        name: 'web-1',
        uid: 'source-pod',
        resourceVersion: '1',
        nodeName: 'node-a',
        deleting: source.deleting,
        held: true,
        running: !source.endTold,
        ...(source.endTold ? ended : {}),
      };
  const targetPod: PodFacts =
    target.pod === 'none' || target.pod === 'removed'
      ? { exists: false }
      : {
          exists: true,
          name: 'web-m-move-uid-1',
          uid: 'target-pod',
          resourceVersion: target.pod,
          deleting: target.deleting,
          held: true,
          running: target.up === 'up',
          ...(target.pod === 'placed' ? { nodeName: 'node-b' } : {}),
          ...(target.endTold ? ended : {}),
        };
  return { now, migration, virtualMachine, sourcePod, targetPod };
}

export function actAsController(w: World, effect: ControllerEffect): World {
  switch (effect.kind) {
    case 'lockVirtualMachine':
      return { ...w, vm: { ...w.vm, locked: true } };
    case 'createTargetPod':
      return w.target.pod === 'none' ? withTarget(w, { pod: 'waiting' }) : w;
    case 'moveOwnership':
      return w.vm.locked && w.vm.owner === 'source' ? { ...w, vm: { ...w.vm, owner: 'target' } } : w;
    case 'deletePod':
      return deletePod(w, effect.pod);
    case 'releasePod':
      return releasePod(w, effect.pod.uid);
    case 'unlockVirtualMachine':
      return unlock(w);
    case 'removeFinalizer':
      return { ...w, objectRemoved: true };
    case 'addFinalizer':
      return w;
  }
}

/** The kubelet ends the QEMU of a deleted pod; one that has no QEMU yet never gets one. */
function deletePod(w: World, { uid, resourceVersion }: { uid: string; resourceVersion: string }): World {
  if (uid === 'source-pod') return withSource(endSource(w), { deleting: true });
  return resourceVersion === w.target.pod ? withTarget(endTarget(w), { deleting: true }) : w;
}

function releasePod(w: World, uid: string): World {
  if (uid === 'source-pod') {
    must(!w.source.up, 'the pod of a living source is released');
    return withSource(w, { removed: true });
  }
  must(w.target.up !== 'up', 'the pod of a living target is released');
  return withTarget(w, { pod: 'removed' });
}

/** From here on the VM is started again elsewhere if the pod that its placement names has ended. */
function unlock(w: World): World {
  if (w.vm.owner === 'target') must(!w.source.up, 'I5: the lock is released while the source is there');
  else must(w.target.up !== 'up' && w.target.pod !== 'placed', 'I5: the lock is released while the target is there');
  return { ...w, vm: { ...w.vm, locked: false } };
}

/** A terminal status says where the VM runs; it has to be there as far as the writer could know. */
export function checkTerminal(w: World, { phase, message = '' }: NonNullable<VirtualMachineMigration['status']>): void {
  const newest = w.target.continued ? 'target' : 'source';
  must(phase !== 'Succeeded' || newest === 'target', 'I4: Succeeded, and the target never ran');
  const node = / (?:runs|is) on (node-[ab])/.exec(message)?.[1];
  if (node === undefined) return;
  must(node === (newest === 'target' ? 'node-b' : 'node-a'), 'I4: a terminal status names the wrong node');
  must(w.vm.owner === newest, 'I4: a terminal status and the placement differ');
  must(!w[newest].endTold, 'I4: a terminal status names a node where the VM is known to have ended');
}

interface ControllerDecision {
  /** Number of the version to be saved; undefined when the status stays. */
  saves: number | undefined;
  /** The terminal status, when this decision is the one that ends the migration. */
  ends: VirtualMachineMigration['status'];
  effects: ControllerEffect[];
}

/** What has been decided on the same facts before: the same facts come up again and again. */
const decisions = new WeakMap<Steps, Map<string, ControllerDecision>>();

export function controllerDecides(
  { source, target, vm, ...w }: World,
  steps: Steps,
  base: number,
  now: number,
): ControllerDecision {
  const known = decisions.get(steps) ?? new Map<string, ControllerDecision>();
  decisions.set(steps, known);
  const { endTold, deleting, removed } = source;
  const key = [
    base,
    now,
    vm.locked,
    vm.owner,
    endTold,
    deleting,
    removed,
    target.pod,
    target.up,
    target.endTold,
    target.deleting,
  ].join();
  const before = known.get(key);
  if (before !== undefined) return before;
  const migration = version(base);
  const { status, effects } = steps.controllerStep(controllerFacts({ source, target, vm, ...w }, migration, now));
  const number = status?.phase === undefined ? base : numberOf(bare({ ...migration, status }));
  const ends = isTerminal(status?.phase) && !isTerminal(migration.status?.phase);
  const decision = { saves: number === base ? undefined : number, ends: ends ? status : undefined, effects };
  known.set(key, decision);
  return decision;
}
