/** What people are told while the end of a QEMU is unproven: why, and what they can do about it. */
import { fencingCommands } from '../../api/fencing-commands.ts';
import type { VirtualMachine } from '../../api/objects.ts';
import { lacksEvidence } from '../pod-evidence.ts';
import type { PodFacts } from './facts.ts';

/** Of a pod that `lacksEvidence`. */
export function unprovenEnd(pod: PodFacts, { metadata }: VirtualMachine): string {
  return `${reasonOf(pod)} The VM is not started elsewhere. ${fencingCommands(pod, metadata)}`;
}

function reasonOf({ name, nodeName, container, rejection }: PodFacts): string {
  if (container.state === 'lost') {
    return `${nodeName} has lost track of pod ${name}, and nothing proves that its QEMU has ended.`;
  }
  if (rejection !== undefined) {
    return `${nodeName} gave pod ${name} up (${rejection}), which does not prove that no QEMU of it runs.`;
  }
  return `${nodeName} is not ready, and nothing proves that the QEMU of pod ${name} has ended.`;
}

/** Of pods that keep the VM from being started, or moved: by default earlier ones. */
export function waitsFor(pods: readonly PodFacts[], { metadata }: VirtualMachine, which = 'its earlier pod'): string {
  const names = pods.map(({ name, nodeName }) => (nodeName === undefined ? name : `${name} on ${nodeName}`)).join(', ');
  const message = `The VM waits for the end of ${which} ${names}, as its node reports it.`;
  return [message, ...pods.filter(lacksEvidence).map((pod) => fencingCommands(pod, metadata))].join(' ');
}

/** Of a pod whose object is gone although our finalizer held it. */
export function vanishedPod(
  pod: { name: string; uid: string; nodeName: string | undefined },
  { metadata }: VirtualMachine,
): string {
  const where = pod.nodeName ?? 'an unknown node';
  return `Pod ${pod.name} was removed by force, and nothing proves that its QEMU on ${where} has ended. The VM is not started elsewhere. ${fencingCommands(pod, metadata)}`;
}
