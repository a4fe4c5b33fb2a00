/** What a VM pod says of its QEMU, read the same way by whoever decides on it. */
import { annotations, finalizers, qemuEnded } from '../api/labels.ts';
import type { VirtualMachine } from '../api/objects.ts';
import type { Pod } from '../kube/core-resources.ts';
import type { ControllerContext } from './context.ts';
import { fencedBy, isReady } from './fencing.ts';

type ContainerFacts =
  | { readonly state: 'unreported' }
  | { readonly state: 'waiting'; readonly message: string }
  | { readonly state: 'running' }
  /** Written by the node for exactly this pod. */
  | {
      readonly state: 'terminated';
      readonly exitCode: number;
      readonly message: string;
      readonly ranMilliseconds: number;
    }
  /** The kubelet lost track of it (`ContainerStatusUnknown`): nobody has seen it end. */
  | { readonly state: 'lost' };

export interface PodEvidence {
  /** Absent until the pod is bound. */
  readonly nodeName?: string;
  /** Whether its node answers: what it reports of the pod is then to be waited for. */
  readonly nodeReady: boolean;
  readonly deleting: boolean;
  /** Our finalizer holds the object. */
  readonly held: boolean;
  readonly container: ContainerFacts;
  /**
   * Why the node's runtime gave the pod up as a whole, when it did so without a word on the container. That is no proof: a kubelet
   * that was restarted admits its pods anew, and what it writes of one that it rejects then has no container, although that runs.
   */
  readonly rejection?: string;
  /** Why its node ended the pod and with it QEMU, as it does when it runs out of something or is shut down. */
  readonly evicted?: string;
  /** What proves the end of its QEMU although its node has not reported it. */
  readonly fenced?: string;
}

/** @param vm whose pod it is, as far as it is there */
export function podEvidence(
  context: Pick<ControllerContext, 'nodes'>,
  pod: Pod,
  vm: VirtualMachine | undefined,
): PodEvidence {
  const { uid: podUID = '', deletionTimestamp } = pod.metadata;
  const nodeName = pod.spec.nodeName || undefined;
  const node = nodeName === undefined ? undefined : context.nodes.cache.get(nodeName);
  const container = containerFacts(pod);
  const neverReported = container.state === 'unreported' || container.state === 'waiting';
  // The pod garbage collector writes this phase, too, also over a container that runs.
  const rejection =
    pod.status?.phase === 'Failed' && neverReported ? sentence(pod.status) || 'no reason given' : undefined;
  const reportedAlive = container.state === 'running' || (neverReported && rejection === undefined);
  // A pod that is not bound has no QEMU, and may still be bound to a node that starts one.
  const isForgotten = container.state === 'lost' || rejection !== undefined;
  const seenByAgent = isForgotten ? agentsWord(podUID, nodeName, vm) : undefined;
  const fenced =
    nodeName === undefined
      ? undefined
      : (fencedBy({ podUID, nodeName, reportedAlive, node, fencedUID: fencedUID(vm) }) ?? seenByAgent);
  const isSeen = container.state === 'terminated' || seenByAgent !== undefined;
  const evicted = isSeen ? evictedByItsNode(pod) : undefined;
  return {
    nodeReady: isReady(node),
    deleting: deletionTimestamp !== undefined,
    held: pod.metadata.finalizers?.includes(finalizers.guest) ?? false,
    container,
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(rejection === undefined ? {} : { rejection }),
    ...(evicted === undefined ? {} : { evicted }),
    ...(fenced === undefined ? {} : { fenced }),
  };
}

/**
 * A kubelet that evicts a pod may forget the container's end. The agent of the node, which knew the process, has then seen it go: it
 * says so of the pod that owns the VM only, in the same boot only, and no agent of another node can say it.
 */
function agentsWord(podUID: string, nodeName: string | undefined, vm: VirtualMachine | undefined): string | undefined {
  const { guest } = vm?.status ?? {};
  const isSaid = guest?.podUID === podUID && guest.runState === qemuEnded;
  return isSaid ? `the agent on ${nodeName} has seen it end` : undefined;
}

/** The same of a pod that a status names and of which there is no object any more: what proves the end of its QEMU. */
export function vanishedPodFenced(
  context: Pick<ControllerContext, 'nodes'>,
  { uid: podUID, nodeName }: { readonly uid: string; readonly nodeName: string | undefined },
  vm: VirtualMachine | undefined,
): string | undefined {
  const node = nodeName === undefined ? undefined : context.nodes.cache.get(nodeName);
  return fencedBy({ podUID, nodeName, reportedAlive: false, node, fencedUID: fencedUID(vm) });
}

/**
 * Whether no QEMU of this pod runs or ever will: its container's end as its node reported it for this pod, or what an operator said
 * of it. A pod in deletion cannot be bound any more, so one without a node then never had a QEMU. The pod's phase, a missing
 * object, a lost node and elapsed time prove nothing: QEMU may run on behind each of them.
 */
export function isGone({
  container,
  nodeName,
  deleting,
  fenced,
}: Pick<PodEvidence, 'container' | 'nodeName' | 'deleting' | 'fenced'>): boolean {
  return container.state === 'terminated' || fenced !== undefined || (nodeName === undefined && deleting);
}

/** Whether nobody but an operator can say that the pod's QEMU has ended. */
export function lacksEvidence(pod: PodEvidence): boolean {
  if (isGone(pod) || pod.nodeName === undefined) return false;
  return !pod.nodeReady || pod.container.state === 'lost' || pod.rejection !== undefined;
}

/** The pod that the VM's annotation names; a UID has 36 characters, and whatever is longer is none. */
export function fencedUID(vm: VirtualMachine | undefined): string | undefined {
  return vm?.metadata.annotations?.[annotations.fenced]?.trim().slice(0, 64) || undefined;
}

/** The condition outlives a container that has ended in good order; the pod's own phase and reason do not. */
function evictedByItsNode({ status = {} }: Pod): string | undefined {
  const condition = status.conditions?.find(({ type }) => type === 'DisruptionTarget');
  if (condition?.status === 'True' && condition.reason === 'TerminationByKubelet') return sentence(condition);
  return status.phase === 'Failed' && status.reason ? sentence(status) : undefined;
}

/** Reasons that say no more than the exit code; others do, such as OOMKilled. */
const ordinaryEnds: ReadonlySet<string> = new Set(['Completed', 'Error']);

function containerFacts(pod: Pod): ContainerFacts {
  const [status] = pod.status?.containerStatuses ?? [];
  if (status === undefined) return { state: 'unreported' };
  const { running, terminated, waiting } = status.state ?? {};
  if (terminated?.reason === 'ContainerStatusUnknown') return { state: 'lost' };
  if (terminated !== undefined) {
    const { exitCode, reason = '', message = '', startedAt, finishedAt } = terminated;
    const ranMilliseconds = Date.parse(finishedAt ?? '') - Date.parse(startedAt ?? '') || 0;
    const told = { message: message.trim(), ...(ordinaryEnds.has(reason) ? {} : { reason }) };
    return { state: 'terminated', exitCode, message: sentence(told), ranMilliseconds };
  }
  return running === undefined ? { state: 'waiting', message: sentence(waiting) } : { state: 'running' };
}

function sentence(of: { reason?: string; message?: string } | undefined): string {
  return [of?.reason, of?.message].filter((part) => part !== undefined && part !== '').join(': ');
}
