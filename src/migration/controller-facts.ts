/** What the controller decides a migration on, and what it can decide: plain data. */
import type { VirtualMachine, VirtualMachineMigration } from '../api/objects.ts';

/** A VM pod as the controller's cache has it. */
export type PodFacts =
  | { exists: false }
  | {
      exists: true;
      name: string;
      uid: string;
      resourceVersion: string;
      nodeName?: string;
      deleting: boolean;
      /** Our finalizer still holds the object. */
      held: boolean;
      /** Since when the scheduler says that it finds no node (milliseconds since the epoch), and its sentence. */
      unschedulable?: { since: number; message: string };
      /** Set by the kubelet or the node runtime for exactly this pod; the only proof that its QEMU has ended. */
      terminated?: { exitCode: number; message?: string };
      running: boolean;
    };

export interface ControllerFacts {
  /** Milliseconds since the epoch. */
  now: number;
  migration: VirtualMachineMigration;
  virtualMachine: VirtualMachine | undefined;
  /** The pod that owned the VM when the migration began, or owns it now if it has not begun. */
  sourcePod: PodFacts;
  /** The pod that this attempt has created. */
  targetPod: PodFacts;
}

export type ControllerEffect =
  | { kind: 'addFinalizer' }
  | { kind: 'lockVirtualMachine' }
  | { kind: 'createTargetPod'; attempt: number; avoidNode: string }
  /** By compare-and-swap on the VirtualMachine; from the source pod to the target pod. */
  | { kind: 'moveOwnership'; fromPodUID: string; to: { nodeName: string; podName: string; podUID: string } }
  /** Preconditions: UID and resourceVersion, so that a pod that has changed meanwhile is judged again. */
  | { kind: 'deletePod'; pod: { name: string; uid: string; resourceVersion: string } }
  /** Only for a pod whose QEMU is proven gone, or that was never placed on a node. */
  | { kind: 'releasePod'; pod: { name: string; uid: string; resourceVersion: string } }
  | { kind: 'unlockVirtualMachine'; result: 'Succeeded' | 'Failed' | 'Cancelled' }
  | { kind: 'removeFinalizer' };

export interface ControllerStep {
  status: VirtualMachineMigration['status'];
  effects: ControllerEffect[];
  lookAgainAfter?: number;
}

/** A step without its status, which is gathered in a `Report`. */
export type Decision = Omit<ControllerStep, 'status'>;
export const nothing: Decision = { effects: [] };
export const one = (effect: ControllerEffect): Decision => ({ effects: [effect] });
