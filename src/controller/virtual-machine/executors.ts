/** Carries out what was decided for a VM. Every effect may be repeated; on a state it was not decided for it does nothing. */
import { finalizers, guestRunningCondition } from '../../api/labels.ts';
import { type VirtualMachine, virtualMachines } from '../../api/objects.ts';
import { type Pod, pods } from '../../kube/core-resources.ts';
import { isAlreadyExists, isConflict, isInvalid, isNotFound } from '../../kube/errors.ts';
import { virtualMachinePod } from '../../machine/pod.ts';
import type { ControllerContext } from '../context.ts';
import type { PodReference, VirtualMachineEffect } from './effects.ts';
import { otherGates, withGate } from './scheduling-gate.ts';

/** @returns whether the caches already show what was done, so that the next step can be decided at once. */
type Executor<K extends VirtualMachineEffect['kind']> = (
  context: ControllerContext,
  vm: VirtualMachine,
  effect: Extract<VirtualMachineEffect, { kind: K }>,
) => Promise<boolean>;

const executors: { [K in VirtualMachineEffect['kind']]: Executor<K> } = {
  async addFinalizer(context, vm) {
    const names = [...(vm.metadata.finalizers ?? []), finalizers.virtualMachine];
    const saved = await setFinalizers(context, vm, names).catch(ignore(isNotFound, isConflict));
    if (saved !== undefined) context.virtualMachines.observe(saved);
    return saved !== undefined;
  },

  async removeFinalizer(context, vm) {
    const names = (vm.metadata.finalizers ?? []).filter((name) => name !== finalizers.virtualMachine);
    await setFinalizers(context, vm, names).catch(ignore(isNotFound, isConflict));
    return false;
  },

  async createPod(context, vm, { podName, hardware, paused }) {
    const { name, namespace, uid } = vm.metadata;
    const pod = virtualMachinePod({
      vm: { name, namespace, uid, spec: vm.spec },
      hardware,
      podName,
      role: 'start',
      qemuImage: context.options.qemuImage,
      kvmResource: context.options.kvmResource,
      paused,
    });
    try {
      context.pods.observe(await context.client.create(pods, withGate(pod) as Pod));
    } catch (error) {
      // Ours from before a crash, or somebody else's: gathering the facts again tells which.
      if (!isAlreadyExists(error)) throw error;
    }
    return true;
  },

  admitPod: (context, vm, { pod }) =>
    patchPod(context, vm, pod, (current) => ({ spec: { schedulingGates: otherGates(current) } })),

  async deletePod(context, vm, { pod: { name, uid, resourceVersion }, unchanged }) {
    const reference = { namespace: vm.metadata.namespace, name };
    const preconditions = unchanged ? { uid, resourceVersion } : { uid };
    try {
      await context.client.delete(pods, reference, preconditions);
      // A read is cheaper than the second delete that a stale cache would bring about.
      context.pods.observe(await context.client.get(pods, reference));
    } catch (error) {
      ignore(isNotFound, isConflict)(error);
    }
    return false;
  },

  releasePod,

  async reportGuestRunning(context, vm, { pod, running }) {
    const changed = { type: guestRunningCondition, status: running ? 'True' : 'False' };
    const lastTransitionTime = new Date(context.now()).toISOString();
    await patchPod(
      context,
      vm,
      pod,
      ({ status }) => {
        const others = (status?.conditions ?? []).filter(({ type }) => type !== guestRunningCondition);
        return { status: { conditions: [...others, { ...changed, lastTransitionTime }] } };
      },
      { subresource: 'status' },
    );
    return false;
  },

  async tell(context, vm, { type, reason, note }) {
    context.recorder.event(vm, type, reason, note);
    return false;
  },
};

/** Runs the effects in order; one that fails keeps the later ones from being carried out. */
export async function execute(
  context: ControllerContext,
  vm: VirtualMachine,
  effects: readonly VirtualMachineEffect[],
): Promise<boolean> {
  let progressed = false;
  for (const effect of effects) {
    const executor = executors[effect.kind] as Executor<typeof effect.kind>;
    progressed = (await executor(context, vm, effect)) || progressed;
  }
  return progressed;
}

/** Also for pods whose VM is gone: the finalizer must not outlive its reason. */
export async function releasePod(
  context: ControllerContext,
  vm: { metadata: { namespace: string } },
  { pod: { name, uid }, force }: { pod: PodReference; force: boolean },
): Promise<boolean> {
  const reference = { namespace: vm.metadata.namespace, name };
  const current = context.pods.cache.get(`${reference.namespace}/${name}`);
  if (current?.metadata.uid !== uid) return false;
  const index = current.metadata.finalizers?.indexOf(finalizers.guest) ?? -1;
  try {
    const { deletionTimestamp, deletionGracePeriodSeconds } = current.metadata;
    if (force && deletionGracePeriodSeconds !== 0) {
      await context.client.delete(pods, reference, { uid, gracePeriodSeconds: 0 });
    } else if (deletionTimestamp === undefined) {
      await context.client.delete(pods, reference, { uid });
    }
    if (index === -1) return false;
    const path = `/metadata/finalizers/${index}`;
    const released = await context.client.jsonPatch(pods, reference, [
      { op: 'test', path: '/metadata/uid', value: uid },
      { op: 'test', path, value: finalizers.guest },
      { op: 'remove', path },
    ]);
    context.pods.observe(released);
  } catch (error) {
    ignore(isNotFound, isConflict, isInvalid)(error);
  }
  return false;
}

/** Patches the pod if it is still as it was judged; if not, its change brings about the next reconcile. */
async function patchPod(
  context: ControllerContext,
  vm: { metadata: { namespace: string } },
  { name, uid, resourceVersion }: PodReference,
  change: (current: Pod) => { metadata?: object; spec?: object; status?: object },
  options: { subresource?: 'status' } = {},
): Promise<boolean> {
  const reference = { namespace: vm.metadata.namespace, name };
  const current = context.pods.cache.get(`${reference.namespace}/${name}`);
  if (current?.metadata.resourceVersion !== resourceVersion) return false;
  const { metadata, ...rest } = change(current);
  const patch = { ...rest, metadata: { ...metadata, uid, resourceVersion } };
  try {
    context.pods.observe(await context.client.mergePatch<Pod>(pods, reference, patch, options));
    return true;
  } catch (error) {
    ignore(isNotFound, isConflict)(error);
    return false;
  }
}

function setFinalizers(context: ControllerContext, vm: VirtualMachine, names: string[]): Promise<VirtualMachine> {
  const { namespace, name, uid, resourceVersion } = vm.metadata;
  const patch = { metadata: { uid, resourceVersion, finalizers: names } };
  return context.client.mergePatch<VirtualMachine>(virtualMachines, { namespace, name }, patch);
}

function ignore(...expected: ((error: unknown) => boolean)[]): (error: unknown) => undefined {
  return (error) => {
    if (!expected.some((matches) => matches(error))) throw error;
    return undefined;
  };
}
