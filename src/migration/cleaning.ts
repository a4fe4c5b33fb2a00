/** How a losing pod goes, and when waiting for that turns into a debt. */
import type { ControllerEffect, PodFacts } from './controller-facts.ts';
import { isGone } from './controller-facts.ts';
import { limits } from './limits.ts';

interface Cleaning {
  effects: ControllerEffect[];
  /** The pods that are still there, whose end has not been seen. */
  left: PodFacts[];
  lookAgainAfter?: number;
}

/**
 * Its agent ends QEMU, the node reports the container terminated (or whoever fenced the node says so), and only then the finalizer
 * and the pod are removed. A pod that was never placed has no QEMU. Deleting a pod whose QEMU may live is for agents that do not
 * answer, and only for a side that is proven to have lost: the caller sees to that.
 * @param since when the losing was settled, in milliseconds since the epoch.
 */
export function clean(pods: readonly PodFacts[], since: number, now: number): Cleaning {
  const left = pods.filter((pod) => pod.exists);
  const effects = left.flatMap((pod) => cleanOne(pod, since, now));
  const waits = [limits.agentEndsQemu, limits.debt].map((limit) => since + limit - now).filter((wait) => wait > 0);
  return { effects, left, ...(left.length === 0 || waits.length === 0 ? {} : { lookAgainAfter: Math.min(...waits) }) };
}

function cleanOne(pod: Extract<PodFacts, { exists: true }>, since: number, now: number): ControllerEffect[] {
  const reference = { name: pod.name, uid: pod.uid, resourceVersion: pod.resourceVersion };
  if (isGone(pod)) return pod.held || !pod.deleting ? [{ kind: 'releasePod', pod: reference }] : [];
  if (pod.nodeName === undefined) return [{ kind: 'deletePod', pod: reference }];
  return pod.deleting || now < since + limits.agentEndsQemu ? [] : [{ kind: 'deletePod', pod: reference }];
}

/** It has taken so long that the VM is given back, with the pod as a debt that its own labels and finalizer remember. */
export function isOwed({ left }: Cleaning, since: number, now: number): boolean {
  return left.length > 0 && now >= since + limits.debt;
}
