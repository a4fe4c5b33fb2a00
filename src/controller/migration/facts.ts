/** Gathers what `controllerStep` decides on, from the caches alone. */

import { finalizers, labels } from '../../api/labels.ts';
import type { VirtualMachine, VirtualMachineMigration } from '../../api/objects.ts';
import type { Pod } from '../../kube/core-resources.ts';
import { targetPodName } from '../../migration/attempt.ts';
import type { ControllerFacts, PodFacts } from '../../migration/controller-facts.ts';
import type { ControllerContext } from '../context.ts';

export function gatherFacts(context: ControllerContext, migration: VirtualMachineMigration): ControllerFacts {
  const { namespace } = migration.metadata;
  const { status } = migration;
  const virtualMachine = context.virtualMachines.cache.get(`${namespace}/${migration.spec.virtualMachineName}`);
  const source = status?.sourcePod ?? placedPod(virtualMachine);
  const target = status?.targetPod ?? {
    name: targetPodName(migration.spec.virtualMachineName, migration.metadata.uid, status?.attempt ?? 1),
  };
  const own = (pod: Pod) => pod.metadata.labels?.[labels.migration] === migration.metadata.uid;
  return {
    now: context.now(),
    migration,
    virtualMachine,
    sourcePod: podFacts(context, namespace, source),
    targetPod: podFacts(context, namespace, target, own),
  };
}

function placedPod(virtualMachine: VirtualMachine | undefined): { name: string; uid?: string } | undefined {
  const { podName, podUID } = virtualMachine?.status?.placement ?? {};
  return podName === undefined || podUID === undefined ? undefined : { name: podName, uid: podUID };
}

function podFacts(
  context: ControllerContext,
  namespace: string,
  reference: { name: string; uid?: string } | undefined,
  belongs: (pod: Pod) => boolean = () => true,
): PodFacts {
  const pod = reference && context.pods.cache.get(`${namespace}/${reference.name}`);
  if (pod === undefined || (reference?.uid !== undefined && pod.metadata.uid !== reference.uid) || !belongs(pod))
    return { exists: false };
  const { name = '', uid = '', resourceVersion = '' } = pod.metadata;
  const nodeName = pod.spec.nodeName;
  const unschedulable = unschedulableSince(pod);
  const state = pod.status?.containerStatuses?.[0]?.state;
  return {
    exists: true,
    name,
    uid,
    resourceVersion,
    deleting: pod.metadata.deletionTimestamp !== undefined,
    held: pod.metadata.finalizers?.includes(finalizers.guest) ?? false,
    running: state?.running !== undefined,
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(unschedulable === undefined ? {} : { unschedulable }),
    ...(state?.terminated === undefined || state.terminated.reason === 'ContainerStatusUnknown'
      ? {}
      : { terminated: state.terminated }),
  };
}

function unschedulableSince(pod: Pod): { since: number; message: string } | undefined {
  const scheduled = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled');
  if (scheduled?.status !== 'False' || scheduled.reason !== 'Unschedulable') return undefined;
  const since = Date.parse(scheduled.lastTransitionTime ?? pod.metadata.creationTimestamp ?? '');
  return { since, message: scheduled.message ?? 'no reason given' };
}
