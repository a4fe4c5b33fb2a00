/** What is done to pods whatever the VM is about: leftovers are removed, and readiness gates say where the guest runs. */
import type { VirtualMachine } from '../../api/objects.ts';
import { isGone } from '../pod-evidence.ts';
import { referenceTo, type VirtualMachineEffect } from './effects.ts';
import type { PodFacts } from './facts.ts';

/**
 * What becomes of a pod that nobody needs. One that may have a QEMU is left alone: it is the loser of a migration, which ends it,
 * or another VM's. The same goes for a target that was not placed yet, unless its migration is known to be gone.
 * @param goneMigration the UID of a migration that nothing will come of any more
 */
export function clearAway(pod: PodFacts, goneMigration: string | undefined): VirtualMachineEffect[] {
  if (isGone(pod)) return pod.held || (pod.ours && !pod.deleting) ? [release(pod)] : [];
  const isNobodys = pod.role === 'start' || (goneMigration !== undefined && pod.migrationUID === goneMigration);
  const neverRan = pod.nodeName === undefined && pod.held;
  return neverRan && isNobodys ? [{ kind: 'deletePod', pod: referenceTo(pod), unchanged: true }] : [];
}

export function release(pod: PodFacts): Extract<VirtualMachineEffect, { kind: 'releasePod' }> {
  const force = pod.fenced !== undefined && pod.container.state !== 'terminated';
  return { kind: 'releasePod', pod: referenceTo(pod), force };
}

/**
 * The readiness gate says whether the guest runs in this pod. While a migration works on the VM it is only ever granted, to a new
 * owner: the guest's short stop is no reason to take it back, and the loser's pod ends anyway.
 */
export function readinessGates(
  { status }: VirtualMachine,
  pod: PodFacts | undefined,
  others: readonly PodFacts[],
): VirtualMachineEffect[] {
  const { guest, migration } = status ?? {};
  const runs = pod !== undefined && guest?.podUID === pod.uid && guest.running === true;
  const own = pod === undefined || (migration !== undefined && !runs) ? [] : change(pod, runs);
  return migration === undefined ? [...own, ...others.flatMap((other) => change(other, false))] : own;
}

function change(pod: PodFacts, running: boolean): VirtualMachineEffect[] {
  const alive = pod.container.state === 'running' && !pod.deleting && !isGone(pod);
  return alive && pod.guestRunning !== running ? [{ kind: 'reportGuestRunning', pod: referenceTo(pod), running }] : [];
}
