/** Carries out what `controllerStep` decided. Every effect may be repeated, and refuses to work on a state it was not decided for. */
import { finalizers, labels } from '../../api/labels.ts';
import {
  type VirtualMachine,
  type VirtualMachineMigration,
  virtualMachineMigrations,
  virtualMachines,
} from '../../api/objects.ts';
import { type Pod, pods } from '../../kube/core-resources.ts';
import { isAlreadyExists, isConflict, isNotFound } from '../../kube/errors.ts';
import { virtualMachinePod } from '../../machine/pod.ts';
import { targetPodName } from '../../migration/attempt.ts';
import type { ControllerEffect } from '../../migration/controller-facts.ts';
import type { ControllerContext } from '../context.ts';
import { lockedBy } from '../lock.ts';

/** @returns whether the caches already show what was done, so that the next step can be decided at once. */
type Executor<K extends ControllerEffect['kind']> = (
  context: ControllerContext,
  migration: VirtualMachineMigration,
  effect: Extract<ControllerEffect, { kind: K }>,
) => Promise<boolean>;

const executors: { [K in ControllerEffect['kind']]: Executor<K> } = {
  addFinalizer: (context, migration) =>
    setFinalizers(context, migration, [...(migration.metadata.finalizers ?? []), finalizers.migration]),

  removeFinalizer: (context, migration) =>
    setFinalizers(
      context,
      migration,
      (migration.metadata.finalizers ?? []).filter((name) => name !== finalizers.migration),
    ),

  async deleteMigration({ client }, { metadata: { namespace, name, uid, resourceVersion } }) {
    // As it was judged: its owner may just have asked for it to stay.
    const reference = { namespace, name };
    await client
      .delete(virtualMachineMigrations, reference, { uid, resourceVersion })
      .catch(ignore(isNotFound, isConflict));
    return false;
  },

  lockVirtualMachine: (context, migration) =>
    updateVirtualMachine(context, migration, (vm) =>
      vm.status?.migration === undefined
        ? lockedBy(vm.status ?? {}, { name: migration.metadata.name, uid: migration.metadata.uid })
        : undefined,
    ),

  moveOwnership: (context, migration, { fromPodUID, to }) =>
    updateVirtualMachine(context, migration, (vm) => {
      const placement = vm.status?.placement;
      const holdsLock = vm.status?.migration?.uid === migration.metadata.uid;
      return holdsLock && placement?.podUID === fromPodUID
        ? { ...vm.status, placement: { ...to, generation: placement.generation + 1 } }
        : undefined;
    }),

  unlockVirtualMachine: (context, migration, { result }) =>
    updateVirtualMachine(context, migration, (vm) => {
      if (vm.status?.migration?.uid !== migration.metadata.uid) return undefined;
      const { migration: _lock, ...status } = vm.status;
      const { sourceNode: from, targetNode: to, downtimeMilliseconds } = migration.status ?? {};
      const lastMigration = {
        name: migration.metadata.name,
        result,
        finishedAt: new Date(context.now()).toISOString(),
        ...(from === undefined ? {} : { from }),
        ...(to === undefined ? {} : { to }),
        ...(downtimeMilliseconds === undefined ? {} : { downtimeMilliseconds }),
      };
      return { ...status, lastMigration };
    }),

  createTargetPod,

  async deletePod(context, migration, { pod: { name, uid, resourceVersion } }) {
    // The grace covers nothing that could still be saved: this QEMU has lost, or never was.
    await context.client
      .delete(pods, { namespace: migration.metadata.namespace, name }, { uid, resourceVersion, gracePeriodSeconds: 1 })
      .catch(ignore(isNotFound, isConflict));
    return false;
  },

  async releasePod(context, migration, { pod: { name, uid, resourceVersion } }) {
    const reference = { namespace: migration.metadata.namespace, name };
    const pod = context.pods.cache.get(`${reference.namespace}/${name}`);
    const kept = (pod?.metadata.finalizers ?? []).filter((finalizer) => finalizer !== finalizers.guest);
    try {
      await context.client.mergePatch<Pod>(pods, reference, { metadata: { uid, resourceVersion, finalizers: kept } });
      await context.client.delete(pods, reference, { uid });
    } catch (error) {
      ignore(isNotFound, isConflict)(error);
    }
    return false;
  },
};

/** Runs the effects in order; one that fails keeps the later ones from being carried out. */
export async function execute(
  context: ControllerContext,
  migration: VirtualMachineMigration,
  effects: readonly ControllerEffect[],
): Promise<boolean> {
  let progressed = false;
  for (const effect of effects) {
    const executor = executors[effect.kind] as Executor<typeof effect.kind>;
    progressed = (await executor(context, migration, effect)) || progressed;
  }
  return progressed;
}

function ignore(...expected: ((error: unknown) => boolean)[]): (error: unknown) => void {
  return (error) => {
    if (!expected.some((matches) => matches(error))) throw error;
  };
}

async function setFinalizers(
  context: ControllerContext,
  migration: VirtualMachineMigration,
  names: string[],
): Promise<boolean> {
  const { namespace, name, uid, resourceVersion } = migration.metadata;
  const patch = { metadata: { uid, resourceVersion, finalizers: names } };
  context.migrations.observe(await context.client.mergePatch(virtualMachineMigrations, { namespace, name }, patch));
  return true;
}

/** Compare-and-swap of the VirtualMachine's status. `change` answers undefined when the state is not the one expected. */
async function updateVirtualMachine(
  context: ControllerContext,
  migration: VirtualMachineMigration,
  change: (vm: VirtualMachine) => VirtualMachine['status'],
): Promise<boolean> {
  const vm = context.virtualMachines.cache.get(`${migration.metadata.namespace}/${migration.spec.virtualMachineName}`);
  const status = vm && change(vm);
  if (vm === undefined || status === undefined) return false;
  const saved = await context.client.replace<VirtualMachine>(
    virtualMachines,
    { ...vm, status },
    { subresource: 'status' },
  );
  context.virtualMachines.observe(saved);
  return true;
}

async function createTargetPod(
  context: ControllerContext,
  migration: VirtualMachineMigration,
  { attempt, avoidNodes, shunNodes }: Extract<ControllerEffect, { kind: 'createTargetPod' }>,
): Promise<boolean> {
  const { namespace, name, uid } = migration.metadata;
  const vm = context.virtualMachines.cache.get(`${namespace}/${migration.spec.virtualMachineName}`);
  const hardware = vm?.status?.hardware;
  if (vm === undefined || hardware === undefined) return false;
  const pod = virtualMachinePod({
    vm: { name: vm.metadata.name, namespace, uid: vm.metadata.uid, spec: vm.spec },
    hardware,
    podName: targetPodName(vm.metadata.name, uid, attempt),
    role: 'target',
    qemuImage: context.options.qemuImage,
    kvmResource: context.options.kvmResource,
    migration: { name, uid, attempt },
    ...(migration.spec.target === undefined ? {} : { target: migration.spec.target }),
    avoidNodes,
    shunNodes,
    paused: true,
  });
  try {
    context.pods.observe(await context.client.create(pods, pod as Pod));
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
    const existing = await context.client.get(pods, { namespace, name: pod.metadata.name });
    if (existing.metadata.labels?.[labels.migration] !== uid) {
      throw new Error(`pod ${pod.metadata.name} exists and is not of this migration: remove or rename it`, {
        cause: error,
      });
    }
    context.pods.observe(existing);
  }
  return true;
}
