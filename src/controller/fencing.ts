/**
 * What proves that the QEMU of a pod has ended although its node does not say so: the word of an operator, for the whole node by a
 * taint or for one pod by an annotation of its VM. A node that is not ready, a Node or Pod object that is gone, and time prove
 * nothing.
 */
import { annotations, outOfServiceTaint } from '../api/labels.ts';
import type { Node } from '../kube/core-resources.ts';

export interface FencingFacts {
  readonly podUID: string;
  /** Absent when it is not known. */
  readonly nodeName: string | undefined;
  /** Whether its node reports that the pod's container runs or is about to. */
  readonly reportedAlive: boolean;
  /** Absent when there is no such object (any more). */
  readonly node: Node | undefined;
  /** The VM's annotation. */
  readonly fencedUID: string | undefined;
}

/**
 * One sentence that says what proves the end; undefined when nothing does. A node that is ready contradicts: it is not out of
 * service (the pod garbage collector of Kubernetes sees it alike), and it will report the end of what it says is alive.
 */
export function fencedBy({ podUID, nodeName, reportedAlive, node, fencedUID }: FencingFacts): string | undefined {
  if (isOutOfService(node)) return `node ${nodeName} is out of service: it carries the taint ${outOfServiceTaint}`;
  if (fencedUID !== podUID || (reportedAlive && isReady(node))) return undefined;
  return `the annotation ${annotations.fenced} of the VM names pod ${podUID}`;
}

/** An operator has said that the node is shut down, and the node does not contradict. */
export function isOutOfService(node: Node | undefined): boolean {
  return !isReady(node) && (node?.spec?.taints?.some(({ key }) => key === outOfServiceTaint) ?? false);
}

export function isReady(node: Node | undefined): boolean {
  return node?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}

/** What of a node may prove the end of a QEMU, as a text of which only a change is news. */
export function fencingState(node: Node | undefined): string {
  return `${isReady(node)} ${isOutOfService(node)}`;
}
