/** One look at a QEMU: is it there, what does its guest do, what has become of its migration. */

import type { CommandResult } from '../../qmp/commands.ts';
import { QmpError } from '../../qmp/errors.ts';
import type { Qemu } from '../qemu/qemu.ts';

export type QemuReading =
  /** `notYet`: nobody has seen it run. `unknown`: it runs, or may run, and does not answer. `gone`: it ran, and has ended. */
  | { presence: 'notYet' | 'unknown' | 'gone' }
  | {
      presence: 'present';
      status: CommandResult<'query-status'>;
      migration: CommandResult<'query-migrate'>;
    };

/** Never takes silence for an end: only a process that is not there any more is gone. */
export async function readQemu(qemu: Qemu): Promise<QemuReading> {
  try {
    const monitor = await qemu.monitor();
    const migration = await monitor.execute('query-migrate');
    const status = await monitor.execute('query-status');
    return { presence: 'present', status, migration };
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    if ((await qemu.presence()) === 'present') return { presence: 'unknown' };
    return { presence: qemu.wasSeen ? 'gone' : 'notYet' };
  }
}
