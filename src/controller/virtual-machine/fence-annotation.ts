/**
 * What becomes of the operator's annotation that names a fenced pod. Whether it counts is decided with the pod (`fencing.ts`); here it
 * is answered: by a condition, which also remembers after the pod's end that the annotation had its effect, and by one event if
 * it can have none.
 */

import { type Condition, setCondition } from '../../api/conditions.ts';
import { annotations } from '../../api/labels.ts';
import { fencedUID, isGone, lacksEvidence } from '../pod-evidence.ts';
import type { VirtualMachineEffect } from './effects.ts';
import type { Status, VirtualMachineFacts } from './facts.ts';

const type = 'FenceAccepted';

export interface Answer {
  readonly status: Status;
  readonly effects: readonly VirtualMachineEffect[];
}

/** @param status as decided; the same comes back when there is nothing new to say */
export function answerFence(facts: VirtualMachineFacts, status: Status): Answer {
  const uid = fencedUID(facts.virtualMachine);
  const before = status.conditions?.find((condition) => condition.type === type);
  if (uid === undefined) return { status: before === undefined ? status : without(status), effects: [] };
  // Both messages begin with the UID that they are about.
  const known = before?.message.startsWith(`${uid} `) ? before : undefined;
  const accepted = acceptedAs(facts, uid);
  if (accepted === undefined && known?.status === 'True') return { status, effects: [] };
  const message = (accepted ?? refusal(facts, uid)).slice(0, 1024);
  const answer: Omit<Condition, 'lastTransitionTime'> =
    accepted === undefined
      ? { type, status: 'False', reason: 'FenceRefused', message }
      : { type, status: 'True', reason: 'PodFenced', message };
  const conditions = setCondition<Condition>(status.conditions, answer, new Date(facts.now).toISOString());
  const note = `The annotation ${annotations.fenced} is ignored: ${message}`;
  return {
    status: conditions === status.conditions ? status : { ...status, conditions },
    effects:
      accepted !== undefined || known !== undefined
        ? []
        : [{ kind: 'tell', type: 'Warning', reason: 'FenceRefused', note }],
  };
}

function without(status: Status): Status {
  return { ...status, conditions: (status.conditions ?? []).filter((condition) => condition.type !== type) };
}

function acceptedAs(facts: VirtualMachineFacts, uid: string): string | undefined {
  const pod = facts.pods.find((candidate) => candidate.uid === uid);
  const name = pod === undefined ? vanished(facts, uid) : isGone(pod) ? pod.name : undefined;
  return name === undefined ? undefined : `${uid} is pod ${name}, whose QEMU counts as ended.`;
}

/** The name of a pod that has no object any more, and whose end is proven. */
function vanished(facts: VirtualMachineFacts, uid: string): string | undefined {
  const { podUID, podName } = facts.virtualMachine.status?.placement ?? {};
  if (podUID === uid && facts.placementFenced !== undefined) return podName;
  return facts.fencedTarget?.uid === uid ? facts.fencedTarget.name : undefined;
}

function refusal({ virtualMachine, pods }: VirtualMachineFacts, uid: string): string {
  const alive = pods.find((candidate) => candidate.uid === uid);
  if (alive?.nodeName !== undefined) {
    return `${uid} is pod ${alive.name}, which ${alive.nodeName} is ready to report on: delete the pod to end its QEMU, or make sure that the node is off.`;
  }
  const { podUID, podName } = virtualMachine.status?.placement ?? {};
  const removed = podUID !== undefined && pods.every((pod) => pod.uid !== podUID) ? [`${podUID} (${podName})`] : [];
  const waiting = [...pods.filter(lacksEvidence).map((pod) => `${pod.uid} (${pod.name})`), ...removed];
  return waiting.length === 0
    ? `${uid} is no pod whose end is unproven, and this VM has none.`
    : `${uid} is no pod of this VM whose end is unproven; it could be ${waiting.join(' or ')}.`;
}
