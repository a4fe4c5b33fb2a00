/**
 * A pod that starts a VM is born behind a scheduling gate, lifted once the VM's placement names the pod by UID. A create request has
 * no precondition: a leader that was stopped after its last check and woke up much later could still create the pod of a start
 * long past. Behind the gate such a pod never gets a node.
 */
import type { Pod } from '../../kube/core-resources.ts';

const gateName = 'vmferry.io/placement';

interface SchedulingGates {
  schedulingGates?: { name: string }[];
}

export function isGated(pod: Pod): boolean {
  return gatesOf(pod).some(({ name }) => name === gateName);
}

export function withGate<P extends { spec: object }>(pod: P): P {
  return { ...pod, spec: { ...pod.spec, schedulingGates: [{ name: gateName }] } };
}

/** What is left of the pod's gates without ours. */
export function otherGates(pod: Pod): { name: string }[] {
  return gatesOf(pod).filter(({ name }) => name !== gateName);
}

function gatesOf(pod: Pod): { name: string }[] {
  const { schedulingGates = [] } = pod.spec as SchedulingGates;
  return schedulingGates;
}
