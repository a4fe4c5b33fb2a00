/** Gathers what is decided on. Where the caches do not know an object that the status names, the API server is asked. */
import { guestRunningCondition, labels } from '../../api/labels.ts';
import { type VirtualMachine, virtualMachineMigrations } from '../../api/objects.ts';
import { type Pod, pods } from '../../kube/core-resources.ts';
import { isNotFound } from '../../kube/errors.ts';
import { defineHardware } from '../../machine/hardware.ts';
import type { ControllerContext } from '../context.ts';
import { podEvidence, vanishedPodFenced } from '../pod-evidence.ts';
import type { PodFacts, VirtualMachineFacts } from './facts.ts';
import { isGated } from './scheduling-gate.ts';

export async function gatherFacts(context: ControllerContext, vm: VirtualMachine): Promise<VirtualMachineFacts> {
  const { namespace, name, uid } = vm.metadata;
  const { accelerator } = context.options;
  const frozenMachineType = vm.status?.hardware?.machineType;
  const machine = { uid, spec: vm.spec, ...(frozenMachineType === undefined ? {} : { frozenMachineType }) };
  const known = context.pods.cache.byIndex('virtualMachine', `${namespace}/${name}`);
  const missing = await missingPod(context, vm, known);
  const { podUID, nodeName } = vm.status?.placement ?? {};
  const placementFenced = podUID === undefined ? undefined : vanishedPodFenced(context, { uid: podUID, nodeName }, vm);
  const fencedTarget = vanishedTarget(context, vm, known);
  return {
    now: context.now(),
    virtualMachine: vm,
    pods: [...known, ...missing].map((pod) => podFacts(context, pod, vm)),
    ...(placementFenced === undefined ? {} : { placementFenced }),
    ...(fencedTarget === undefined ? {} : { fencedTarget }),
    lockHolderExists: await lockHolderExists(context, vm),
    hardware: defineHardware(machine, { accelerator }),
  };
}

/** The placement's pod, when the cache has none of that name: it may be too new for the cache, or not carry our label. */
async function missingPod(context: ControllerContext, vm: VirtualMachine, known: readonly Pod[]): Promise<Pod[]> {
  const { podName } = vm.status?.placement ?? {};
  if (podName === undefined || known.some(({ metadata }) => metadata.name === podName)) return [];
  const pod = await context.client.get(pods, { namespace: vm.metadata.namespace, name: podName }).catch(absent);
  return pod === undefined ? [] : [pod];
}

function vanishedTarget(
  context: ControllerContext,
  vm: VirtualMachine,
  known: readonly Pod[],
): VirtualMachineFacts['fencedTarget'] {
  const holder = context.migrations.cache.get(`${vm.metadata.namespace}/${vm.status?.migration?.name}`);
  const { targetPod: { name = '', uid } = {}, targetNode: nodeName } = holder?.status ?? {};
  if (uid === undefined || known.some(({ metadata }) => metadata.uid === uid)) return undefined;
  return vanishedPodFenced(context, { uid, nodeName }, vm) === undefined ? undefined : { name, uid };
}

async function lockHolderExists(context: ControllerContext, vm: VirtualMachine): Promise<boolean> {
  const lock = vm.status?.migration;
  if (lock === undefined) return false;
  const { namespace } = vm.metadata;
  if (context.migrations.cache.get(`${namespace}/${lock.name}`)?.metadata.uid === lock.uid) return true;
  const migration = await context.client.get(virtualMachineMigrations, { namespace, name: lock.name }).catch(absent);
  return migration?.metadata.uid === lock.uid;
}

function absent(error: unknown): undefined {
  if (!isNotFound(error)) throw error;
}

/** @param vm undefined for a pod whose VM is gone */
export function podFacts(context: ControllerContext, pod: Pod, vm: VirtualMachine | undefined): PodFacts {
  const { name, uid = '', resourceVersion = '', ownerReferences = [] } = pod.metadata;
  const migrationUID = pod.metadata.labels?.[labels.migration];
  const conditions = pod.status?.conditions ?? [];
  const scheduled = conditions.find(({ type }) => type === 'PodScheduled');
  return {
    ...podEvidence(context, pod, vm),
    name,
    uid,
    resourceVersion,
    role: pod.metadata.labels?.[labels.role] === 'target' ? 'target' : 'start',
    ours:
      vm !== undefined && ownerReferences.some(({ controller, uid }) => controller === true && uid === vm.metadata.uid),
    gated: isGated(pod),
    guestRunning: conditions.some(({ type, status }) => type === guestRunningCondition && status === 'True'),
    ...(migrationUID === undefined ? {} : { migrationUID }),
    ...(scheduled?.status === 'False' && scheduled.reason === 'Unschedulable'
      ? { unschedulable: scheduled.message ?? 'no reason given' }
      : {}),
  };
}
