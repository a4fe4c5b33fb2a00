/** Gathers what `controllerStep` decides on, from the caches alone. */

import type { VirtualMachine, VirtualMachineMigration } from '../../api/objects.ts';
import { isTerminal } from '../../api/phases.ts';
import type { Pod } from '../../kube/core-resources.ts';
import { targetPodName } from '../../migration/attempt.ts';
import { describeWaiting, fullNodes, whoWaits } from '../../migration/capacity.ts';
import { arrivesAt, type Claimant, claimToArrive, claimToLeave, nameOf } from '../../migration/claims.ts';
import type { AgentPresence, ControllerFacts, PodFacts, Room } from '../../migration/controller-facts.ts';
import type { ControllerContext } from '../context.ts';
import { podEvidence, vanishedPodFenced } from '../pod-evidence.ts';

export function gatherFacts(context: ControllerContext, migration: VirtualMachineMigration): ControllerFacts {
  const { namespace, uid } = migration.metadata;
  const { status } = migration;
  const virtualMachine = context.virtualMachines.cache.get(`${namespace}/${migration.spec.virtualMachineName}`);
  const targetName = targetPodName(migration.spec.virtualMachineName, uid, status?.attempt ?? 1);
  const target = status?.targetPod ?? { name: targetName };
  const made = context.pods.cache.byIndex('migration', uid);
  const source = find(context, namespace, status?.sourcePod ?? placedPod(virtualMachine));
  const ofTarget = made.find((pod) => isNamed(pod, target));
  const factsOf = (pod: Pod) => podFacts(context, pod, virtualMachine);
  const vanished = (pod: Reference | undefined, nodeName: string | undefined) =>
    vanishedPodFacts(context, { uid: pod?.uid, nodeName }, virtualMachine);
  return {
    now: context.now(),
    migration,
    virtualMachine,
    sourcePod: source === undefined ? vanished(status?.sourcePod, status?.sourceNode) : factsOf(source),
    targetPod: ofTarget === undefined ? vanished(status?.targetPod, status?.targetNode) : factsOf(ofTarget),
    debts: made.filter(({ metadata }) => metadata.name !== targetName).map(factsOf),
    agents: {
      source: presenceOf(context, status?.sourceNode),
      target: presenceOf(context, status?.targetNode),
    },
    room: roomFor(context, migration),
    protocol: context.protocol,
  };
}

/** Counted only for one that is about to take some: all others are unaffected, whatever it is. */
function roomFor(context: ControllerContext, migration: VirtualMachineMigration): Room {
  const { status } = migration;
  if (isTerminal(status?.phase) || status?.plan !== undefined) return { fullNodes: [] };
  const { migrationLimits } = context.options;
  const unfinished = context.migrations.cache.byIndex('ended', 'false');
  const others = unfinished.filter(({ metadata }) => metadata.uid !== migration.metadata.uid);
  const fullAt = fullNodes(
    others.flatMap((other) => arrivesAt(other) ?? []),
    migrationLimits,
  );
  const claims = unfinished.flatMap((each) => {
    const claim = status?.sourcePod === undefined ? claimToLeave(claimant(context, each)) : claimToArrive(each);
    return claim ?? [];
  });
  const waiting = whoWaits(claims, migrationLimits).get(nameOf(migration));
  if (waiting === undefined) return { fullNodes: fullAt };
  const why = describeWaiting(waiting, migrationLimits);
  return { fullNodes: fullAt, ...(status?.sourcePod === undefined ? { toBegin: why } : { toSend: why }) };
}

function claimant(context: ControllerContext, migration: VirtualMachineMigration): Claimant {
  const { namespace } = migration.metadata;
  const virtualMachine = context.virtualMachines.cache.get(`${namespace}/${migration.spec.virtualMachineName}`);
  const pod = find(context, namespace, placedPod(virtualMachine));
  const facts = pod && podFacts(context, pod, virtualMachine);
  return { migration, virtualMachine, runs: facts?.exists === true && facts.running };
}

/** An agent that was not seen at work yet counts as silent from the moment at which this process began to look. */
function presenceOf({ agents, startedAt }: ControllerContext, nodeName: string | undefined): AgentPresence {
  return (nodeName === undefined ? undefined : agents.presenceOf(nodeName)) ?? { since: startedAt, seenAt: startedAt };
}

interface Reference {
  name: string;
  uid?: string;
}

function placedPod(virtualMachine: VirtualMachine | undefined): Reference | undefined {
  const { podName, podUID } = virtualMachine?.status?.placement ?? {};
  return podName === undefined || podUID === undefined ? undefined : { name: podName, uid: podUID };
}

function find({ pods }: ControllerContext, namespace: string, reference: Reference | undefined): Pod | undefined {
  const pod = reference && pods.cache.get(`${namespace}/${reference.name}`);
  return pod !== undefined && isNamed(pod, reference) ? pod : undefined;
}

function isNamed({ metadata }: Pod, { name, uid }: Reference = { name: '' }): boolean {
  return metadata.name === name && (uid === undefined || metadata.uid === uid);
}

/** A pod that was removed by force is gone when whoever fenced its node says so. */
function vanishedPodFacts(
  context: ControllerContext,
  { uid, nodeName }: { uid: string | undefined; nodeName: string | undefined },
  vm: VirtualMachine | undefined,
): PodFacts {
  const fenced = uid === undefined ? undefined : vanishedPodFenced(context, { uid, nodeName }, vm);
  return { exists: false, ...(fenced === undefined ? {} : { fenced }) };
}

function podFacts(context: ControllerContext, pod: Pod, vm: VirtualMachine | undefined): PodFacts {
  const { name = '', uid = '', resourceVersion = '' } = pod.metadata;
  const { nodeName, deleting, held, container, fenced } = podEvidence(context, pod, vm);
  const unschedulable = unschedulableSince(pod);
  return {
    exists: true,
    name,
    uid,
    resourceVersion,
    deleting,
    held,
    running: container.state === 'running',
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(unschedulable === undefined ? {} : { unschedulable }),
    ...(container.state === 'terminated' ? { terminated: container } : {}),
    ...(fenced === undefined ? {} : { fenced }),
  };
}

function unschedulableSince(pod: Pod): { since: number; message: string } | undefined {
  const scheduled = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled');
  if (scheduled?.status !== 'False' || scheduled.reason !== 'Unschedulable') return undefined;
  const since = Date.parse(scheduled.lastTransitionTime ?? pod.metadata.creationTimestamp ?? '');
  return { since, message: scheduled.message ?? 'no reason given' };
}
