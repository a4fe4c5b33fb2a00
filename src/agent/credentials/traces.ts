/** Undoes in QEMU what attempts have made there. */
import { tracePrefix } from '../../migration/attempt.ts';
import type { QmpConnection } from '../../qmp/connection.ts';
import { QmpCommandError } from '../../qmp/errors.ts';
import type { Qemu } from '../qemu/qemu.ts';
import { PassingFolder } from './passing-folder.ts';

type Monitor = Pick<QmpConnection, 'execute'>;

class TracesLeft extends Error {
  override readonly name = 'TracesLeft';
  readonly code = 'TracesLeft';
}

/** Names of the objects made by object-add or on the command line. */
export async function userObjects(monitor: Monitor): Promise<string[]> {
  const entries = await monitor.execute('qom-list', { path: '/objects' });
  return entries.filter(({ type }) => type.startsWith('child<')).map(({ name }) => name);
}

/**
 * Removes everything that attempts have made in this QEMU, found by its name, and their files in its run volume. What belongs to
 * the attempt named `keep` (a `traceName`) stays in QEMU; nothing that is not an attempt's is touched.
 *
 * Only with the pod's place in the queue, like every change of a QEMU.
 * @throws TracesLeft when QEMU does not let go of something; RunVolumeError; the file system's errors; QmpError.
 */
export async function removeTraces(
  qemu: Pick<Qemu, 'monitor' | 'runVolume'>,
  { keep }: { keep?: string | undefined } = {},
): Promise<void> {
  const monitor = await qemu.monitor();
  const isDoomed = (name: string) =>
    name.startsWith(tracePrefix) && name !== keep && (keep === undefined || !name.startsWith(`${keep}-`));
  const { 'tls-creds': inUse } = await monitor.execute('query-migrate-parameters');
  if (inUse && isDoomed(inUse)) await monitor.execute('migrate-set-parameters', { 'tls-creds': '' });
  const refusals: QmpCommandError[] = [];
  for (const id of (await userObjects(monitor)).filter(isDoomed)) {
    await monitor.execute('object-del', { id }).catch((error: unknown) => {
      // It may have gone by itself: the list below decides.
      if (!(error instanceof QmpCommandError)) throw error;
      refusals.push(error);
    });
  }
  const left = (await userObjects(monitor)).filter(isDoomed);
  using volume = qemu.runVolume();
  await PassingFolder.removeLeft(volume);
  if (left.length > 0) throw new TracesLeft(`QEMU keeps ${left.join(', ')}`, { cause: refusals[0] });
}
