import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Asks until the answer is not `undefined`, every 20 ms.
 *
 * @param what ends the sentence "timed out after N s waiting until …"
 * @throws what `ask` throws at once; after the deadline (milliseconds) a timeout; when the signal aborts, its reason
 */
export async function until<T>(
  what: string,
  deadline: number,
  ask: () => T | undefined | Promise<T | undefined>,
  signal?: AbortSignal,
): Promise<T> {
  const end = Date.now() + deadline;
  for (;;) {
    signal?.throwIfAborted();
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > end) throw new Error(`timed out after ${deadline / 1000} s waiting until ${what}`);
    await sleep(20); // short enough to look at the signal afterwards only
  }
}
