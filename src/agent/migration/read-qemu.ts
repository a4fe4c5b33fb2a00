/** One look at a QEMU: is it there, what does its guest do, what has become of its migration. */

import type { CommandResult, MigrationStatus } from '../../qmp/commands.ts';
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

/** While a guest stands still, each question costs it a millisecond: what QEMU has told of these need not be asked for. */
const switchover = new Set<MigrationStatus>(['pre-switchover', 'completed']);

/** Enough for a thread that waits for nothing but the processor. */
const outOfBandMilliseconds = 250;

/**
 * Never takes silence for an end: only a process that is not there any more is gone.
 * @param timeoutMilliseconds for each of the two in-band commands.
 * @param inSwitchover whether the events at `pre-switchover` and `completed` are believed. Both stay true until QEMU tells of another.
 */
export async function readQemu(qemu: Qemu, timeoutMilliseconds: number, inSwitchover = false): Promise<QemuReading> {
  try {
    const monitor = await qemu.monitor();
    const told = inSwitchover ? qemu.toldMigration : undefined;
    const migration =
      told !== undefined && switchover.has(told)
        ? { status: told }
        : await monitor.execute('query-migrate', {}, { timeoutMilliseconds });
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
