import { constants } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from './logger.ts';

const endingSignals = ['SIGTERM', 'SIGINT'] as const;

export interface ProcessOptions {
  readonly logger: Logger;
  /** Bound on everything between the first signal (or the end of `run`) and the exit, in milliseconds; 10 s when absent. */
  readonly deadlineMilliseconds?: number;
}

/**
 * Runs the body of a long-lived process and gives its exit code. The first SIGTERM or SIGINT aborts `signal`; `run` is then
 * expected to return, and what it put on `resources` is disposed of in reverse order, all within the deadline. A second
 * signal ends the process at once with 128 + its number.
 *
 * The code is 0 when `run` returned, 1 when it or a disposal threw (an abort after a signal is no error) or the deadline passed;
 * the caller hands it to `process.exit`, because a stuck handle must not keep the process alive.
 */
export async function runProcess(
  options: ProcessOptions,
  run: (signal: AbortSignal, resources: AsyncDisposableStack) => Promise<void>,
): Promise<number> {
  const { logger, deadlineMilliseconds = 10_000 } = options;
  const controller = new AbortController();
  let signalled = false;
  const onSignal = (name: NodeJS.Signals) => {
    if (signalled) process.exit(128 + constants.signals[name]);
    signalled = true;
    logger.info({ signal: name }, 'shutting down');
    controller.abort(new Error(`received ${name}`));
  };
  for (const name of endingSignals) process.on(name, onSignal);

  const resources = new AsyncDisposableStack();
  const settled = new AbortController();
  const work = endOf(async () => {
    try {
      await run(controller.signal, resources);
    } finally {
      controller.abort(new Error('the process ends'));
      await resources.disposeAsync();
    }
  });
  try {
    const outcome = await Promise.race([work, deadlineAfter(controller.signal, deadlineMilliseconds, settled.signal)]);
    if (outcome === undefined || (signalled && isEchoOf(outcome.error, controller.signal))) return 0;
    logger.error({ err: outcome.error }, 'ended with an error');
    return 1;
  } finally {
    settled.abort();
    for (const name of endingSignals) process.off(name, onSignal);
  }
}

/** Nothing when the work succeeded, else what it threw: a race must not leave a rejection without a handler. */
async function endOf(work: () => Promise<void>): Promise<{ error: unknown } | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    return { error };
  }
}

async function deadlineAfter(
  start: AbortSignal,
  milliseconds: number,
  settled: AbortSignal,
): Promise<{ error: unknown }> {
  if (!start.aborted)
    await new Promise<void>((resolve) => start.addEventListener('abort', () => resolve(), { once: true }));
  await delay(milliseconds, undefined, { signal: settled }).catch(() => undefined);
  return { error: new Error(`not everything was closed within ${milliseconds} ms`) };
}

/** What waits on an aborted signal throws the signal's reason, or an AbortError of its own. */
function isEchoOf(error: unknown, signal: AbortSignal): boolean {
  return error === signal.reason || (error instanceof Error && error.name === 'AbortError');
}
