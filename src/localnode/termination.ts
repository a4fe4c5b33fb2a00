import type { Pod } from '../kube/core-resources.ts';

export interface TerminationSchedule {
  /** When the process is asked to end, by SIGTERM, in milliseconds since the epoch. */
  readonly signalAt: number;
  /** When it is ended. */
  readonly killAt: number;
}

/** As the kubelet: what a deletion without grace leaves, and what a preStop sleep as long as the grace leaves. */
const shortestGraceMilliseconds = 2000;

/**
 * When a pod that is being deleted is signalled and killed. It follows from the object alone, so that a localnode that was
 * restarted goes on where it was.
 */
export function terminationSchedule(pod: Pod): TerminationSchedule {
  const { deletionTimestamp = '', deletionGracePeriodSeconds = 0 } = pod.metadata;
  const deadline = Date.parse(deletionTimestamp);
  const preStopSeconds = sleepOf(pod.spec.containers[0]?.lifecycle?.preStop?.exec) ?? 0;
  const sleepSeconds = Math.min(preStopSeconds, deletionGracePeriodSeconds);
  // The API server cuts the timestamp to a whole second; who sleeps shall have all of it.
  const roundingMilliseconds = sleepSeconds > 0 ? 1000 : 0;
  const signalAt = deadline - (deletionGracePeriodSeconds - sleepSeconds) * 1000 + roundingMilliseconds;
  return { signalAt, killAt: Math.max(deadline, signalAt + shortestGraceMilliseconds) };
}

/** Seconds that a hook sleeps; undefined for one that does anything else. */
export function sleepOf(exec: { command?: string[] } | undefined): number | undefined {
  const [program, seconds, ...more] = exec?.command ?? [];
  return program === 'sleep' && more.length === 0 && /^\d+$/.test(seconds ?? '') ? Number(seconds) : undefined;
}
