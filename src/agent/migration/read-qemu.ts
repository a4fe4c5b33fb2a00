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
      /** Only its status, when that was believed to be what QEMU has told. */
      migration: CommandResult<'query-migrate'>;
    };

/** QEMU gets there only with a guest that it has stopped for the move, and stays until it is told to go on or to cancel. */
const standingStill: QemuReading = {
  presence: 'present',
  status: { status: 'finish-migrate', running: false },
  migration: { status: 'pre-switchover' },
};

/** Enough for a thread that waits for nothing but the processor. */
const outOfBandMilliseconds = 250;

/**
 * Never takes silence for an end: only a process that is not there any more is gone.
 * @param timeoutMilliseconds for each of the two in-band commands.
 * @param inSwitchover whether what it has just told of `pre-switchover` and `completed` is believed: a guest stands still then, and each
 *   question costs it half a millisecond.
 */
export async function readQemu(qemu: Qemu, timeoutMilliseconds: number, inSwitchover = false): Promise<QemuReading> {
  try {
    const monitor = await qemu.monitor();
    const told = inSwitchover ? qemu.justToldMigration : undefined;
    if (told === 'pre-switchover') return standingStill;
    const migration =
      told === 'completed' ? { status: told } : await monitor.execute('query-migrate', {}, { timeoutMilliseconds });
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
