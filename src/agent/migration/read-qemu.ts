/** One look at a QEMU: is it there, what does its guest do, what has become of its migration. */

import type { CommandResult } from '../../qmp/commands.ts';
import { QmpError, QmpTimeout } from '../../qmp/errors.ts';
import type { Qemu } from '../qemu/qemu.ts';

export type QemuReading =
  /** `notYet`: nobody has seen it run. `gone`: it ran, and has ended. */
  | { presence: 'notYet' | 'gone' }
  /** It runs, or may run, and does not answer. `frozen`: its monitor's own thread does, so its main loop hangs. */
  | { presence: 'unknown'; frozen: boolean }
  | {
      presence: 'present';
      status: CommandResult<'query-status'>;
      migration: CommandResult<'query-migrate'>;
    };

/** Enough for a thread that waits for nothing but the processor. */
const outOfBandMilliseconds = 250;

/**
 * Never takes silence for an end: only a process that is not there any more is gone.
 * @param timeoutMilliseconds for each of the two in-band commands.
 */
export async function readQemu(qemu: Qemu, timeoutMilliseconds: number): Promise<QemuReading> {
  try {
    const monitor = await qemu.monitor();
    const migration = await monitor.execute('query-migrate', {}, { timeoutMilliseconds });
    const status = await monitor.execute('query-status', {}, { timeoutMilliseconds });
    return { presence: 'present', status, migration };
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    if ((await qemu.presence()) !== 'present') return { presence: qemu.wasSeen ? 'gone' : 'notYet' };
    return { presence: 'unknown', frozen: error instanceof QmpTimeout && (await answersOutOfBand(qemu)) };
  }
}

async function answersOutOfBand(qemu: Qemu): Promise<boolean> {
  try {
    const monitor = await qemu.monitor();
    await monitor.executeOutOfBand('query-yank', {}, { timeoutMilliseconds: outOfBandMilliseconds });
    return true;
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    return false;
  }
}
