import { setTimeout as delay } from 'node:timers/promises';
import { ApiError, isAlreadyExists, isNotFound } from '../../src/kube/errors.ts';

const pauseMilliseconds = 50;

/**
 * Asks an API server that may be away until it answers; a refusal is an answer. `undefined`: there is no such object,
 * or it was created by a request whose answer was lost.
 * @throws the refusal, or the signal's reason
 */
export async function persistently<T>(signal: AbortSignal, ask: () => Promise<T>): Promise<T | undefined> {
  for (;;) {
    signal.throwIfAborted();
    try {
      return await ask();
    } catch (error) {
      if (isNotFound(error) || isAlreadyExists(error)) return undefined;
      if (error instanceof ApiError && isRefusal(error.status)) throw error;
    }
    await delay(pauseMilliseconds, undefined, { signal });
  }
}

/** What would be refused again; the others tell of a server that is starting, ending or cut off. */
const isRefusal = (status: number) => status === 400 || status === 422;
