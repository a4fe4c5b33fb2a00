import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../../observability/logger.ts';
import { isAlive, type ProcessIdentity, signalProcess } from './process.ts';

/** QEMU usually needs some 20 ms from SHUTDOWN to its end. */
const patienceMilliseconds = 200;

/**
 * Sees a QEMU that has said SHUTDOWN to its end. It does nothing but clean up then, and QEMU 7.2 may stay there for ever: it waits for
 * a command that came at that moment, and polls everything but what would wake it. A signal with a handler interrupts the
 * wait, and changes nothing else any more, not even the exit code.
 *
 * Returns when the process is gone, or the signal aborts.
 */
export async function seeOut(ending: ProcessIdentity, logger: Logger, signal: AbortSignal): Promise<void> {
  try {
    for (;;) {
      await delay(patienceMilliseconds, undefined, { ref: false, signal });
      if (!isAlive(ending)) return;
      logger.info({ pid: ending.pid }, 'QEMU has shut down and is still there: waking it');
      signalProcess(ending, 'SIGTERM');
    }
  } catch (error) {
    if (!signal.aborted) logger.error({ err: error, pid: ending.pid }, 'QEMU could not be woken');
  }
}
