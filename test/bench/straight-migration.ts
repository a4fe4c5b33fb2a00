/** A migration by QMP alone, as a straight script would do it: as good as it gets. */
import type { QmpConnection } from '../../src/qmp/connection.ts';
import type { QmpEvent } from '../../src/qmp/events.ts';
import type { Features } from '../../src/qmp/features.ts';
import { capabilitiesFor } from '../../src/qmp/migration-settings.ts';

const deadlineMilliseconds = 60_000;
const limits = { 'downtime-limit': 300, 'max-bandwidth': 0 };

/** A QEMU, and the name of the keys that it has for the stream. */
interface End {
  readonly monitor: QmpConnection;
  readonly credentials: string;
}

export interface StraightMigration {
  readonly source: End;
  readonly target: End;
  /** Of both: what a straight script knows about its QEMU, and need not ask while it is timed. */
  readonly features: Features;
  /** Of the target, to listen at. */
  readonly address: string;
  /** In the target's certificate. */
  readonly serverName: string;
}

export interface StraightTimes extends Handover {
  /** By the script's clock: `migrate` is sent. */
  readonly issued: number;
  /** QEMU's own figure, milliseconds. */
  readonly qemuDowntime: number | undefined;
  readonly transferredBytes: number | undefined;
}

/** Moves the guest, and ends the QEMU that it has left. */
export async function migrateStraight(migration: StraightMigration): Promise<StraightTimes> {
  const { source, target, features, address, serverName } = migration;
  const ofSource = { ...limits, 'tls-creds': source.credentials, 'tls-hostname': serverName };
  await Promise.all([
    source.monitor.execute('migrate-set-capabilities', { capabilities: capabilitiesFor('source', features) }),
    source.monitor.execute('migrate-set-parameters', ofSource),
    target.monitor.execute('migrate-set-capabilities', { capabilities: capabilitiesFor('target', features) }),
    target.monitor.execute('migrate-set-parameters', { 'tls-creds': target.credentials }),
    target.monitor.execute('migrate-incoming', { uri: `tcp:${address}:0` }),
  ]);
  const listening = await target.monitor.execute('query-migrate');
  const port = listening['socket-address']?.[0]?.port;
  const handedOver = handOver(source.monitor, target.monitor);
  const issued = performance.now();
  await source.monitor.execute('migrate', { uri: `tcp:${address}:${port}` });
  const times = await handedOver;
  const account = await source.monitor.execute('query-migrate');
  await source.monitor.execute('quit').catch(() => {}); // it may be gone before its answer is read
  await source.monitor.closed;
  return { ...times, issued, qemuDowntime: account.downtime, transferredBytes: account.ram?.transferred };
}

/** Lets it trust one certificate, and no other; the files are those that QEMU looks for in such a folder. */
export async function addCredentials(
  monitor: QmpConnection,
  id: string,
  { endpoint, dir }: { endpoint: 'client' | 'server'; dir: string },
): Promise<void> {
  const trust = { 'verify-peer': true, 'sanity-check': false };
  await monitor.execute('object-add', { 'qom-type': 'tls-creds-x509', id, endpoint, dir, ...trust });
}

interface Handover {
  /** QEMU's own stamp, milliseconds since the epoch. */
  activeAt: number;
  /** The script's clock (`performance.now()`): STOP and RESUME were read, and `cont` was answered. */
  stopped: number;
  resumed: number;
  continued: number;
}

/** Continues the source at `pre-switchover` and the target when the source is complete, each in the tick in which it is told. */
async function handOver(source: QmpConnection, target: QmpConnection): Promise<Handover> {
  const { promise, resolve, reject } = Promise.withResolvers<Handover>();
  const seen: Partial<Handover> = {};
  const next = async (event: QmpEvent) => {
    if (event.name === 'STOP') seen.stopped = performance.now();
    if (event.name !== 'MIGRATION') return;
    const { status } = event.data;
    if (status === 'active') seen.activeAt = event.timestampMilliseconds ?? Date.now();
    if (status === 'pre-switchover') await source.execute('migrate-continue', { state: 'pre-switchover' });
    if (status === 'failed') throw new Error('the bare migration failed');
    if (status !== 'completed') return;
    await target.execute('cont');
    const continued = performance.now();
    const { activeAt, stopped, resumed } = seen;
    if (activeAt === undefined || stopped === undefined || resumed === undefined) {
      throw new Error('QEMU completed a migration without telling all about it');
    }
    resolve({ activeAt, stopped, resumed, continued });
  };
  const endings = [
    source.onEvent((event) => void next(event).catch(reject)),
    target.onEvent((event) => {
      if (event.name === 'RESUME') seen.resumed = performance.now();
    }),
  ];
  const overdue = setTimeout(() => reject(new Error('the bare migration did not end')), deadlineMilliseconds);
  try {
    return await promise;
  } finally {
    clearTimeout(overdue);
    for (const end of endings) end();
  }
}
