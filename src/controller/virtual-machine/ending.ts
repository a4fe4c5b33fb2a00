/** How a VM's QEMU ended, and what follows from it. */
import type { VirtualMachine } from '../../api/objects.ts';
import type { PodFacts, Status } from './facts.ts';

export type EndReason =
  | 'StoppedOnRequest'
  | 'PodDeleted'
  | 'PodEvicted'
  | 'GuestPoweredOff'
  | 'QemuFailed'
  | 'NodeFenced';
export type Sequel = 'Start' | 'Restart' | 'StayStopped' | 'StayFailed';
type RestartPolicy = NonNullable<VirtualMachine['spec']['restartPolicy']>;

/** `Start` is asked for by the owner and is not counted; `Restart` is counted and backs off. */
const sequels: Record<EndReason, Record<RestartPolicy, Sequel>> = {
  StoppedOnRequest: { Always: 'Start', OnFailure: 'Start', Never: 'Start' },
  PodDeleted: { Always: 'Restart', OnFailure: 'Restart', Never: 'StayStopped' },
  PodEvicted: { Always: 'Restart', OnFailure: 'Restart', Never: 'StayStopped' },
  GuestPoweredOff: { Always: 'Restart', OnFailure: 'StayStopped', Never: 'StayStopped' },
  QemuFailed: { Always: 'Restart', OnFailure: 'Restart', Never: 'StayFailed' },
  NodeFenced: { Always: 'Restart', OnFailure: 'Restart', Never: 'StayFailed' },
};

/** Whether an operator should hear of it: nobody has asked for it. */
export function isFault(reason: EndReason): boolean {
  return reason === 'QemuFailed' || reason === 'NodeFenced' || reason === 'PodEvicted';
}

/** A run of this length was no quick failure: the back-off begins anew. */
const stableRunMilliseconds = 10 * 60_000;
const longestBackoffMilliseconds = 5 * 60_000;

/**
 * Why the pod's QEMU ended. Exit code 0 alone does not tell a guest that powered itself off from one that we asked to, nor from
 * a QEMU that the node ended with the pod (SIGTERM ends it with 0).
 */
export function endReason(pod: PodFacts, vm: VirtualMachine, stopWanted: boolean): EndReason {
  const guest = vm.status?.guest;
  if (stopWanted) return 'StoppedOnRequest';
  // Kubernetes deletes the pods of a node that is out of service: that is not what ended their guests.
  if (pod.container.state !== 'terminated') return pod.evicted === undefined ? 'NodeFenced' : 'PodEvicted';
  // The agent powers the guest of a pod in deletion down, too: that is the pod's end, not the owner's wish.
  if (pod.deleting) return 'PodDeleted';
  if (pod.evicted !== undefined) return 'PodEvicted';
  if (guest?.podUID === pod.uid && guest.powerDownRequestedAt !== undefined) return 'StoppedOnRequest';
  return pod.container.exitCode === 0 ? 'GuestPoweredOff' : 'QemuFailed';
}

/**
 * What an ended QEMU does to the count of restarts. The count is there exactly while the VM's last end was not asked for: its
 * absence means that the next start is the owner's.
 */
export function restartsAfter(
  reason: EndReason,
  pod: PodFacts | undefined,
  before: number | undefined,
): number | undefined {
  if (reason === 'StoppedOnRequest') return undefined;
  const stable = pod?.container.state === 'terminated' && pod.container.ranMilliseconds >= stableRunMilliseconds;
  return stable ? 0 : (before ?? 0);
}

/** What the VM that has no pod any more does next, by the policy as it is now. */
export function sequel(status: Status, policy: RestartPolicy): Sequel {
  if (status.restarts === undefined || status.lastEnd === undefined) return 'Start';
  const reason = status.lastEnd.reason;
  return reason in sequels ? sequels[reason as EndReason][policy] : 'Restart';
}

/** Milliseconds still to wait before the next restart: 1 s after the first end, doubled by each restart, at most 5 min. */
export function backoffLeft(status: Status, now: number): number {
  const backoff = Math.min(1_000 * 2 ** Math.min(status.restarts ?? 0, 20), longestBackoffMilliseconds);
  // A stamp from the future comes from another replica's clock and must not prolong the wait.
  return Math.min(Date.parse(status.lastEnd?.at ?? '') + backoff - now, backoff) || 0;
}

export function describeEnd(reason: EndReason, pod: PodFacts): string {
  const on = pod.nodeName === undefined ? '' : ` on ${pod.nodeName}`;
  if (reason === 'PodEvicted') return `QEMU${on} ended because its node gave pod ${pod.name} up: ${pod.evicted}`;
  if (pod.container.state !== 'terminated') return describeFence(pod.name, pod.fenced);
  const { exitCode, message } = pod.container;
  const said = message === '' ? '' : `: ${message}`;
  return {
    StoppedOnRequest: `The VM was stopped${on}.`,
    PodDeleted: `QEMU${on} ended because its pod ${pod.name} was deleted.`,
    GuestPoweredOff: `The guest powered itself off${on}.`,
    QemuFailed: `QEMU${on} ended with exit code ${exitCode}${said}`,
    NodeFenced: describeFence(pod.name, pod.fenced),
  }[reason];
}

/** @param evidence the sentence that says what proves it */
export function describeFence(podName: string, evidence: string | undefined): string {
  return `The QEMU of pod ${podName} counts as ended: ${evidence ?? 'it was fenced'}.`;
}
