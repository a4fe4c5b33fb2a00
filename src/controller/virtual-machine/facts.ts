/** What the decision about one VM rests on, as plain data. */
import type { VirtualMachine } from '../../api/objects.ts';
import type { PodEvidence } from '../pod-evidence.ts';

export type Status = NonNullable<VirtualMachine['status']>;
export type Hardware = NonNullable<Status['hardware']>;

/** One pod with the VM's label. */
export interface PodFacts extends PodEvidence {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  /** `target` for a pod that a migration created. */
  readonly role: 'start' | 'target';
  readonly migrationUID?: string;
  /** Whether this VM is its controlling owner. */
  readonly ours: boolean;
  /** Our scheduling gate keeps it from being bound. */
  readonly gated: boolean;
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
  /** What proves the end of the placement's QEMU if its pod's object is gone. */
  readonly placementFenced?: string;
  /** The target pod of the migration that holds the lock, if its object is gone and the end of its QEMU is proven. */
  readonly fencedTarget?: { readonly name: string; readonly uid: string };
  /** Whether the migration that holds the lock exists; without a lock, of no meaning. */
  readonly lockHolderExists: boolean;
  /** The machine that a start now would build. */
  readonly hardware: Hardware;
}
