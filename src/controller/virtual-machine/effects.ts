/** What the decision about a VM may ask for. Every effect may be repeated, and names the state it was decided for. */
import type { Hardware } from './facts.ts';

export interface PodReference {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
}

export type VirtualMachineEffect =
  | { kind: 'addFinalizer' }
  /** The pod is born behind a scheduling gate: creating it twice, or late, starts nothing. */
  | { kind: 'createPod'; podName: string; hardware: Hardware; paused: boolean }
  /** Lifts the gate of the pod that the placement names by UID. */
  | { kind: 'admitPod'; pod: PodReference }
  /** `unchanged`: only if the pod is still as it was judged, such as not bound. */
  | { kind: 'deletePod'; pod: PodReference; unchanged: boolean }
  /**
   * Removes our finalizer and the pod; only for a pod whose QEMU is proven gone. `force`: without its node, which may never
   * answer again.
   */
  | { kind: 'releasePod'; pod: PodReference; force: boolean }
  | { kind: 'reportGuestRunning'; pod: PodReference; running: boolean }
  | { kind: 'tell'; type: 'Normal' | 'Warning'; reason: string; note: string }
  | { kind: 'removeFinalizer' };

export function referenceTo({ name, uid, resourceVersion }: PodReference): PodReference {
  return { name, uid, resourceVersion };
}
