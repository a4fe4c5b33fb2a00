/** Both sides of a migration between two real QEMUs, led by the tests of the credentials. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { KeyPair } from '../../certificates/key-pair.ts';
import { attemptStamp, streamCredentialsID } from '../../migration/attempt.ts';
import { capabilitiesFor, parametersFor } from '../../qmp/migration-settings.ts';
import type { Qemu } from '../qemu/qemu.ts';
import { installStreamCredentials } from './stream-credentials.ts';

const migrationUID = '3d813cbb-47fb-32ba-91df-831e1593ac29';
const attempt = 1;
export const stamp = attemptStamp(migrationUID, attempt);
export const id = streamCredentialsID(migrationUID, attempt);

/** What one side has: its own keys, and whom it trusts. */
export interface Trust {
  readonly own: KeyPair;
  readonly peer: KeyPair;
}

/**
 * Makes a target wait for a source, without encryption when there is no trust.
 * @returns the port on 127.0.0.1.
 */
export async function listen(target: Qemu, trust?: Trust): Promise<number> {
  await settle(target, 'target', trust);
  const monitor = await target.monitor();
  await monitor.execute('migrate-incoming', { uri: 'tcp:127.0.0.1:0' });
  const { 'socket-address': addresses } = await monitor.execute('query-migrate');
  return Number(addresses?.[0]?.port);
}

/** Migrates, without encryption when there is no trust, and says how it ended: `completed` or `failed`. */
export async function migrate(source: Qemu, port: number, trust?: Trust): Promise<string> {
  await begin(source, port, trust);
  const monitor = await source.monitor();
  for (;;) {
    const { status = 'none' } = await monitor.execute('query-migrate');
    if (status === 'completed' || status === 'failed') return status;
    if (status === 'pre-switchover') await monitor.execute('migrate-continue', { state: status });
    await delay(5);
  }
}

/** Issues the migration, which will wait at `pre-switchover`. */
export async function begin(source: Qemu, port: number, trust?: Trust): Promise<void> {
  await settle(source, 'source', trust);
  await (await source.monitor()).execute('migrate', { uri: `tcp:127.0.0.1:${port}` });
}

async function settle(qemu: Qemu, side: 'source' | 'target', trust: Trust | undefined): Promise<void> {
  const endpoint = side === 'source' ? 'client' : 'server';
  if (trust !== undefined)
    await installStreamCredentials(qemu, { id, endpoint, own: trust.own, peerCertificate: trust.peer.certificate });
  const features = await qemu.features();
  const monitor = await qemu.monitor();
  const encryption = trust === undefined ? {} : { 'tls-creds': id, 'tls-hostname': stamp };
  await monitor.execute('migrate-set-capabilities', { capabilities: capabilitiesFor(side, features) });
  await monitor.execute('migrate-set-parameters', { ...parametersFor(features), ...encryption });
}

/** Somebody on the network between the two: hands everything on, and keeps what goes to the target. */
export class Eavesdropper implements AsyncDisposable {
  readonly #chunks: Buffer[] = [];
  readonly #server;

  private constructor(targetPort: number) {
    this.#server = createServer((incoming) => {
      const outgoing = connect(targetPort, '127.0.0.1');
      incoming.on('data', (chunk: Buffer) => this.#chunks.push(chunk));
      incoming.pipe(outgoing).pipe(incoming);
      incoming.on('error', () => outgoing.destroy());
      outgoing.on('error', () => incoming.destroy());
    });
  }

  static async before(targetPort: number): Promise<Eavesdropper> {
    const eavesdropper = new Eavesdropper(targetPort);
    await once(eavesdropper.#server.listen(0, '127.0.0.1'), 'listening');
    return eavesdropper;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get heard(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    await closed;
  }
}
