import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { describe, expect, test, vi } from 'vitest';
import { commands } from './commands.ts';
import type { QmpConnection } from './connection.ts';
import type { QmpEvent } from './events.ts';
import { probe } from './features.ts';
import { capabilitiesFor } from './migration-settings.ts';
import { digest } from './testdata/digest.ts';
import { QemuProcess } from './testdata/qemu-process.ts';

const noHurry = { commandTimeoutMilliseconds: 60_000, greetingTimeoutMilliseconds: 60_000 };

describe('one QEMU', () => {
  test('is greeted, asked everything that needs no arguments, and told to quit', async () => {
    await using qemu = await QemuProcess.start();
    await using connection = await qemu.open('qmp', noHurry);
    expect(connection.version.major).toBeGreaterThanOrEqual(7);
    expect(await connection.execute('query-status')).toMatchObject({ running: false, status: 'prelaunch' });
    for (const [name, { arguments: args }] of Object.entries(commands)) {
      if (!name.startsWith('query-') || Object.keys(args.members ?? {}).length > 0) continue;
      await connection.execute(name as 'query-status');
    }
    const gone = await connection.execute('quit').catch((error) => error.code);
    expect([{}, 'QmpDisconnected']).toContainEqual(gone);
    expect(await connection.closed).toMatchObject({ code: 'QmpDisconnected' });
  });

  test('its refusal is told with class, command and text', async () => {
    await using qemu = await QemuProcess.start();
    await using connection = await qemu.open('qmp', noHurry);
    await expect(connection.execute('object-del', { id: 'nobody' })).rejects.toMatchObject({
      code: 'QmpCommandFailed',
      class: 'GenericError',
      command: 'object-del',
      description: expect.stringContaining('nobody'),
    });
    const properties = connection.execute('qom-get', { path: '/machine', property: 'type' });
    expect(await properties).toBe('pc-q35-7.2-machine');
  });

  test('a second client of a monitor finds it busy, until the first leaves; the other monitor is free', async () => {
    await using qemu = await QemuProcess.start();
    const first = await qemu.open('qmp', noHurry);
    const impatient = { greetingTimeoutMilliseconds: 50 };
    await Promise.all(
      [1, 2, 3, 4].map(() => expect(qemu.open('qmp', impatient)).rejects.toMatchObject({ code: 'QmpBusy' })),
    );
    await using rescue = await qemu.open('qmp2', noHurry);
    expect((await rescue.execute('query-status')).status).toBe('prelaunch');
    await first[Symbol.asyncDispose]();
    // Those that gave up still stand in QEMU's queue for a moment.
    await using second = await vi.waitFor(() => qemu.open('qmp', noHurry), { timeout: 60_000 });
    expect((await second.execute('query-status')).status).toBe('prelaunch');
  });

  test('killed with a command pending it is disconnected, not late', async () => {
    await using qemu = await QemuProcess.start();
    await using connection = await qemu.open('qmp', noHurry);
    qemu.child.kill('SIGSTOP');
    const pending = connection.execute('query-status');
    qemu.child.kill('SIGKILL');
    await expect(pending).rejects.toMatchObject({ code: 'QmpDisconnected' });
  });

  test('stopped it is late, not gone; when it goes on the connection serves again', async () => {
    await using qemu = await QemuProcess.start();
    await using connection = await qemu.open('qmp', noHurry);
    qemu.child.kill('SIGSTOP');
    const briefly = { timeoutMilliseconds: 50 };
    const [sent, unsent] = [connection.execute('stop', {}, briefly), connection.execute('query-status', {}, briefly)];
    await expect(sent).rejects.toMatchObject({ code: 'QmpTimeout', sent: true });
    await expect(unsent).rejects.toMatchObject({ code: 'QmpTimeout', sent: false });
    await expect(qemu.open('qmp2', { greetingTimeoutMilliseconds: 50 })).rejects.toMatchObject({ code: 'QmpBusy' });
    expect(connection.isOpen).toBe(true);
    qemu.child.kill('SIGCONT');
    expect(await connection.execute('query-status')).toMatchObject({ running: false });
  });

  test('its capabilities and its schema are those recorded of its version', async () => {
    await using qemu = await QemuProcess.start();
    await using connection = await qemu.open('qmp', noHurry);
    const { major, minor } = connection.version;
    const file = new URL(`./testdata/qemu-${major}.${minor}.json`, import.meta.url);
    expect(digest(await connection.execute('query-qmp-schema'))).toEqual(JSON.parse(readFileSync(file, 'utf8')));
    const features = await probe(connection, 'target');
    expect(features.capabilities).toContain('return-path');
    expect(features.parameters).toContain('max-bandwidth');
    expect(features.incomingExitOnError).toBe(major > 9 || (major === 9 && minor >= 1));
  });
});

describe('a migration', () => {
  test('moves a running guest over a unix socket, led by events alone', async () => {
    await using source = await QemuProcess.start();
    await using target = await QemuProcess.start('-incoming', 'defer');
    await using from = await source.open('qmp', noHurry);
    await using to = await target.open('qmp', noHurry);
    const uri = `unix:${target.socketPath('stream')}`;
    for (const [connection, side] of [
      [from, 'source'],
      [to, 'target'],
    ] as const) {
      const features = await probe(connection, side);
      await connection.execute('migrate-set-capabilities', { capabilities: capabilitiesFor(side, features) });
      await connection.execute('migrate-set-parameters', { 'max-bandwidth': 0, 'downtime-limit': 300 });
    }
    await from.execute('cont');
    await to.execute('migrate-incoming', { uri });
    const arrived = statuses(to, 'completed');
    const stopping = statuses(from, 'pre-switchover');

    await from.execute('migrate', { uri });
    expect(await stopping).toEqual(['setup', 'active', 'STOP', 'pre-switchover']);
    expect(await from.execute('query-migrate')).toMatchObject({
      status: 'pre-switchover',
      ram: { total: expect.any(Number) },
    });
    const handedOver = statuses(from, 'completed');
    await from.execute('migrate-continue', { state: 'pre-switchover' });
    expect((await handedOver).at(-1)).toBe('completed');
    expect((await arrived).filter((name) => name !== 'setup')).toEqual(['active', 'completed']);
    // QEMU says `completed` a moment before.
    await expect.poll(async () => (await from.execute('query-status')).status).toBe('postmigrate');

    const resumed = Promise.withResolvers<QmpEvent>();
    to.onEvent((event) => event.name === 'RESUME' && resumed.resolve(event));
    await to.execute('cont');
    expect((await resumed.promise).timestampMilliseconds).toBeGreaterThan(1.7e12);
    expect(await to.execute('query-status')).toMatchObject({ running: true });
  });

  test('that has QEMU blocked in band is cut out of band, and the guest runs on', async () => {
    await using deaf = await listenAndReadNothing();
    await using qemu = await QemuProcess.start();
    await using connection = await qemu.open('qmp', noHurry);
    await connection.execute('migrate-set-capabilities', {
      capabilities: capabilitiesFor('source', await probe(connection, 'source')),
    });
    // So slow and so patient that nearly all of the memory is left for the time in which QEMU holds its big lock.
    await connection.execute('migrate-set-parameters', { 'max-bandwidth': 200_000, 'downtime-limit': 2_000_000 });
    await connection.execute('cont');
    const stopping = statuses(connection, 'pre-switchover');
    await connection.execute('migrate', { uri: `unix:${deaf.path(qemu.folder)}` });
    await stopping;
    const failing = statuses(connection, 'failed');
    await connection.execute('migrate-continue', { state: 'pre-switchover' }).catch(() => undefined);
    // Answered until the last buffer is full.
    let late: unknown;
    while (late === undefined) {
      late = await connection.execute('query-status', {}, { timeoutMilliseconds: 500 }).then(
        () => undefined,
        (error) => error,
      );
    }
    expect(late).toMatchObject({ code: 'QmpTimeout', sent: true });

    expect(await connection.executeOutOfBand('query-yank')).toContainEqual({ type: 'migration' });
    await connection.executeOutOfBand('yank', { instances: [{ type: 'migration' }] });
    expect((await failing).filter((name) => name !== 'device')).toEqual(['failed']);
    expect((await connection.execute('query-migrate')).status).toBe('failed');
    await expect.poll(async () => (await connection.execute('query-status')).running).toBe(true);
  });
});

/** The course of a migration, STOP included, up to `last`. */
async function statuses(connection: QmpConnection, last: string): Promise<string[]> {
  const seen: string[] = [];
  for await (const event of connection.events()) {
    if (event.name === 'STOP') seen.push('STOP');
    if (event.name !== 'MIGRATION') continue;
    seen.push(event.data.status);
    if (event.data.status === last) return seen;
  }
  throw new Error(`The connection ended before "${last}": ${seen}`);
}

/** A target that takes the connection and then nothing but what its socket's buffer holds. */
async function listenAndReadNothing() {
  const server = createServer({ pauseOnConnect: true });
  const sockets = new Set<{ destroy(): void }>();
  server.on('connection', (socket) => sockets.add(socket));
  return {
    path(folder: string): string {
      server.listen(`${folder}/stream`);
      return `${folder}/stream`;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
