/** What the controller decides a migration on, and what it can decide: plain data. */
import type { VirtualMachine, VirtualMachineMigration } from '../api/objects.ts';
import type { ProtocolRange } from '../api/protocol.ts';

/** A VM pod as the controller's cache has it. */
export type PodFacts =
  /** `fenced`: it was removed by force, and whoever fenced its node vouches for its QEMU's end. */
  | { exists: false; fenced?: string }
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
      /** Set by the kubelet or the node runtime for exactly this pod: its QEMU has ended, and how. */
      terminated?: { exitCode: number; message?: string };
      /** Whoever fenced its node has said so, in these words: its QEMU has ended, and nobody knows how. */
      fenced?: string;
      running: boolean;
    };

/** An agent as the controller has heard of it: milliseconds since the epoch by the controller's own clock. */
export interface AgentPresence {
  /** Since when it has been heard without a break, by this controller and over this API server. */
  readonly since: number;
  /** When it was last heard. */
  readonly seenAt: number;
}

/** What other migrations leave of the capacity. */
export interface Room {
  /** Why it may not begin yet, in one sentence. */
  readonly toBegin?: string;
  /** Why its target, which is ready, may not be sent to yet. */
  readonly toSend?: string;
  /** At these nodes no more may arrive now. */
  readonly fullNodes: string[];
}

export interface ControllerFacts {
  /** Milliseconds since the epoch. */
  now: number;
  migration: VirtualMachineMigration;
  virtualMachine: VirtualMachine | undefined;
  /** The pod that owned the VM when the migration began, or owns it now if it has not begun. */
  sourcePod: PodFacts;
  /** The pod that this attempt has created. */
  targetPod: PodFacts;
  /** Pods that earlier attempts have created and that are still there. */
  debts: PodFacts[];
  /** The agents of the two nodes; absent: never heard of. */
  agents: { source?: AgentPresence; target?: AgentPresence };
  room: Room;
  /** What this controller speaks. */
  protocol: ProtocolRange;
}

interface PodReference {
  name: string;
  uid: string;
  resourceVersion: string;
}

export type ControllerEffect =
  | { kind: 'addFinalizer' }
  | { kind: 'lockVirtualMachine' }
  /** Never on `avoidNodes`; on `shunNodes` only if no other node takes it. */
  | { kind: 'createTargetPod'; attempt: number; avoidNodes: string[]; shunNodes: string[] }
  /** By compare-and-swap on the VirtualMachine; from the source pod to the target pod. */
  | { kind: 'moveOwnership'; fromPodUID: string; to: { nodeName: string; podName: string; podUID: string } }
  /** Preconditions: UID and resourceVersion, so that a pod that has changed meanwhile is judged again. */
  | { kind: 'deletePod'; pod: PodReference }
  /** Only for a pod whose QEMU is proven gone, or that was never placed on a node. */
  | { kind: 'releasePod'; pod: PodReference }
  | { kind: 'unlockVirtualMachine'; result: 'Succeeded' | 'Failed' | 'Cancelled' }
  | { kind: 'removeFinalizer' }
  | { kind: 'deleteMigration' };

export interface ControllerStep {
  status: VirtualMachineMigration['status'];
  effects: ControllerEffect[];
  lookAgainAfter?: number;
}

/** A step without its status, which is gathered in a `Report`. */
export type Decision = Omit<ControllerStep, 'status'>;
export const nothing: Decision = { effects: [] };
export const one = (effect: ControllerEffect): Decision => ({ effects: [effect] });

/** No QEMU of this pod runs or ever will. A pod in deletion is not placed any more, so one without a node then never had one. */
export function isGone(pod: PodFacts): boolean {
  if (pod.fenced !== undefined) return true;
  return pod.exists && (pod.terminated !== undefined || (pod.nodeName === undefined && pod.deleting));
}
