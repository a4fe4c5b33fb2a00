/** What the decision about one VM rests on, as plain data. */
import type { VirtualMachine } from '../../api/objects.ts';

export type Status = NonNullable<VirtualMachine['status']>;
export type Hardware = NonNullable<Status['hardware']>;

export type ContainerFacts =
  | { readonly state: 'unreported' }
  | { readonly state: 'waiting'; readonly message: string }
  | { readonly state: 'running' }
  | {
      readonly state: 'terminated';
      readonly exitCode: number;
      readonly message: string;
      readonly ranMilliseconds: number;
    }
  /** The kubelet lost track of it (`ContainerStatusUnknown`): nobody has seen it end. */
  | { readonly state: 'lost' };

/** One pod with the VM's label. */
export interface PodFacts {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  /** `target` for a pod that a migration created. */
  readonly role: 'start' | 'target';
  readonly migrationUID?: string;
  /** Whether this VM is its controlling owner. */
  readonly ours: boolean;
  /** Absent until the pod is bound. */
  readonly nodeName?: string;
  readonly deleting: boolean;
  /** Our finalizer holds the object. */
  readonly held: boolean;
  /** Our scheduling gate keeps it from being bound. */
  readonly gated: boolean;
  /** Why the node's runtime gave the pod up as a whole, when it did so without a word on the container. */
  readonly rejection?: string;
  readonly container: ContainerFacts;
  /** The scheduler's sentence, when it finds no node. */
  readonly unschedulable?: string;
  /** What the pod's readiness gate says now. */
  readonly guestRunning: boolean;
}

export interface VirtualMachineFacts {
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly virtualMachine: VirtualMachine;
  /** Every pod that carries the VM's label, and the placement's pod by name whoever made it. */
  readonly pods: readonly PodFacts[];
  /** Whether the migration that holds the lock exists; without a lock, of no meaning. */
  readonly lockHolderExists: boolean;
  /** The machine that a start now would build. */
  readonly hardware: Hardware;
}

/**
 * Whether no QEMU of this pod runs or ever will. The proof is the container's end as its node reported it for this pod; a pod in
 * deletion cannot be bound any more, so one without a node then never had a QEMU. The pod's phase, a missing object, a lost
 * node and elapsed time prove nothing: QEMU may run on behind each of them.
 */
export function isGone(pod: PodFacts): boolean {
  return pod.container.state === 'terminated' || (pod.nodeName === undefined && pod.deleting);
}
