/** Gathers what is decided on. Where the caches do not know an object that the status names, the API server is asked. */
import { finalizers, guestRunningCondition, labels } from '../../api/labels.ts';
import { type VirtualMachine, virtualMachineMigrations } from '../../api/objects.ts';
import { type Pod, pods } from '../../kube/core-resources.ts';
import { isNotFound } from '../../kube/errors.ts';
import { defineHardware } from '../../machine/hardware.ts';
import type { ControllerContext } from '../context.ts';
import type { ContainerFacts, PodFacts, VirtualMachineFacts } from './facts.ts';
import { isGated } from './scheduling-gate.ts';

export async function gatherFacts(context: ControllerContext, vm: VirtualMachine): Promise<VirtualMachineFacts> {
  const { namespace, name, uid } = vm.metadata;
  const { accelerator } = context.options;
  const frozenMachineType = vm.status?.hardware?.machineType;
  const machine = { uid, spec: vm.spec, ...(frozenMachineType === undefined ? {} : { frozenMachineType }) };
  const known = context.pods.cache.byIndex('virtualMachine', `${namespace}/${name}`);
  const missing = await missingPod(context, vm, known);
  return {
    now: context.now(),
    virtualMachine: vm,
    pods: [...known, ...missing].map((pod) => podFacts(pod, uid)),
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

export function podFacts(pod: Pod, virtualMachineUID: string): PodFacts {
  const { name, uid = '', resourceVersion = '', deletionTimestamp, ownerReferences = [] } = pod.metadata;
  const { nodeName } = pod.spec;
  const migrationUID = pod.metadata.labels?.[labels.migration];
  const conditions = pod.status?.conditions ?? [];
  const container = containerFacts(pod);
  const scheduled = conditions.find(({ type }) => type === 'PodScheduled');
  const rejected = pod.status?.phase === 'Failed' && container.state !== 'terminated' && container.state !== 'lost';
  return {
    name,
    uid,
    resourceVersion,
    role: pod.metadata.labels?.[labels.role] === 'target' ? 'target' : 'start',
    ours: ownerReferences.some((owner) => owner.controller === true && owner.uid === virtualMachineUID),
    deleting: deletionTimestamp !== undefined,
    held: pod.metadata.finalizers?.includes(finalizers.guest) ?? false,
    gated: isGated(pod),
    container,
    guestRunning: conditions.some(({ type, status }) => type === guestRunningCondition && status === 'True'),
    ...(migrationUID === undefined ? {} : { migrationUID }),
    ...(nodeName === undefined || nodeName === '' ? {} : { nodeName }),
    ...(rejected ? { rejection: sentence(pod.status) } : {}),
    ...(scheduled?.status === 'False' && scheduled.reason === 'Unschedulable'
      ? { unschedulable: scheduled.message ?? 'no reason given' }
      : {}),
  };
}

function containerFacts(pod: Pod): ContainerFacts {
  const [status] = pod.status?.containerStatuses ?? [];
  if (status === undefined) return { state: 'unreported' };
  const { running, terminated, waiting } = status.state ?? {};
  if (terminated?.reason === 'ContainerStatusUnknown') return { state: 'lost' };
  if (terminated !== undefined) {
    const { exitCode, message = '', startedAt, finishedAt } = terminated;
    const ranMilliseconds = Date.parse(finishedAt ?? '') - Date.parse(startedAt ?? '') || 0;
    return { state: 'terminated', exitCode, message: message.trim(), ranMilliseconds };
  }
  return running === undefined ? { state: 'waiting', message: sentence(waiting) } : { state: 'running' };
}

function sentence(of: { reason?: string; message?: string } | undefined): string {
  return [of?.reason, of?.message].filter((part) => part !== undefined && part !== '').join(': ');
}
