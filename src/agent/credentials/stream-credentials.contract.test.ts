import { mkdtempDisposableSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { describe, expect, test } from 'vitest';
import { createKeyPair } from '../../certificates/key-pair.ts';
import type { Qemu } from '../qemu/qemu.ts';
import { listening, Node, podUID } from '../started-qemu.test-support.ts';
import { Eavesdropper, id, listen, migrate, stamp, type Trust } from './encrypted-migration.test-support.ts';
import { InvalidPeerCertificate, installStreamCredentials } from './stream-credentials.ts';
import { removeTraces, userObjects } from './traces.ts';

const targetUID = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
const [ofSource, ofTarget, ofThird] = await Promise.all([1, 2, 3].map(() => createKeyPair(stamp)));
if (ofSource === undefined || ofTarget === undefined || ofThird === undefined) throw new Error('no keys');
const lastYear = { notBefore: new Date('2020-01-01'), notAfter: new Date('2020-12-31') };
const expired = await createKeyPair(stamp, lastYear);

const atSource: Trust = { own: ofSource, peer: ofTarget };
const atTarget: Trust = { own: ofTarget, peer: ofSource };

interface Pair extends AsyncDisposable {
  node: Node;
  source: Qemu;
  target: Qemu;
}

/** A source and a target that does not listen yet. */
async function pair(options: { user?: number; extra?: readonly string[] } = {}): Promise<Pair> {
  const { user, extra = [] } = options;
  const node = new Node();
  const registry = await node.registry();
  const runAs = user === undefined ? {} : { user };
  node.start({ ...runAs, extra });
  node.start({ ...runAs, uid: targetUID, extra: [...extra, '-S', '-incoming', 'defer'] });
  const [source, target] = [registry.get(podUID), registry.get(targetUID)];
  await Promise.all([source, target].map(listening));
  return {
    node,
    source,
    target,
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await node[Symbol.asyncDispose]();
    },
  };
}

/** Where a guest stood still QEMU 7.2 may say `postmigrate` after a failure. */
const statusOf = { running: ['running'], 'standing still': ['prelaunch', 'postmigrate'] };
const status = async (qemu: Qemu) => (await (await qemu.monitor()).execute('query-status')).status;

/** The guest is as it was, a moment after the failure, and can go on. It must before it is migrated again: from `postmigrate` QEMU 7.2 refuses to. */
async function expectUnharmed(source: Qemu, guest: keyof typeof statusOf): Promise<void> {
  await expect.poll(() => status(source)).toBeOneOf(statusOf[guest]);
  await (await source.monitor()).execute('cont');
  expect(await status(source)).toBe('running');
}

const objects = async (qemu: Qemu) => userObjects(await qemu.monitor());

/** The user of production, and the rules its QEMU is under. */
const asInProduction = {
  user: 65532,
  extra: ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
};

test.skipIf(process.geteuid?.() !== 0)('the right pair migrates, as another user and in a sandbox', async () => {
  await using both = await pair(asInProduction);
  const port = await listen(both.target, atTarget);
  expect(await migrate(both.source, port, atSource)).toBe('completed');
  await expect.poll(() => status(both.source)).toBe('postmigrate');
  await expect.poll(() => status(both.target)).toBe('paused');
});

describe.each([
  { guest: 'running', extra: [] },
  { guest: 'standing still', extra: ['-S'] },
] as const)('with a guest that is $guest', ({ guest, extra }) => {
  const wrongSources: { who: string; trust?: Trust }[] = [
    { who: 'with a third party’s certificate', trust: { own: ofThird, peer: ofTarget } },
    { who: 'that does not encrypt' },
  ];
  test.each(wrongSources)('a source $who is refused unharmed, and the right one is not', async ({ trust }) => {
    await using both = await pair({ extra });
    const port = await listen(both.target, atTarget);
    expect(await migrate(both.source, port, trust)).toBe('failed');
    await expectUnharmed(both.source, guest);
    expect(await status(both.target)).toBe('inmigrate');
    expect(await migrate(both.source, port, atSource)).toBe('completed');
  });

  test('a source that has expired is refused unharmed, and a valid one is not', async () => {
    await using both = await pair({ extra });
    const port = await listen(both.target, { own: ofTarget, peer: expired });
    expect(await migrate(both.source, port, { own: expired, peer: ofTarget })).toBe('failed');
    await expectUnharmed(both.source, guest);
    expect(await status(both.target)).toBe('inmigrate');
    await installStreamCredentials(both.target, {
      id,
      endpoint: 'server',
      own: ofTarget,
      peerCertificate: ofSource.certificate,
    });
    expect(await migrate(both.source, port, atSource)).toBe('completed');
  });

  const wrongTargets: { who: string; trust: Trust }[] = [
    { who: 'of a third party', trust: { own: ofThird, peer: ofSource } },
    { who: 'that has expired', trust: { own: expired, peer: ofSource } },
  ];
  test.each(wrongTargets)('a target $who is not given the guest, which is unharmed', async ({ trust }) => {
    await using both = await pair({ extra });
    const port = await listen(both.target, trust);
    const peer = trust.own === expired ? expired : ofTarget;
    expect(await migrate(both.source, port, { own: ofSource, peer })).toBe('failed');
    await expectUnharmed(both.source, guest);
  });
});

test('a target of another attempt’s name is not given the guest', async () => {
  await using both = await pair();
  const other = await createKeyPair('m-other-1.vmferry.invalid');
  const port = await listen(both.target, { own: other, peer: ofSource });
  expect(await migrate(both.source, port, { own: ofSource, peer: other })).toBe('failed');
  await expectUnharmed(both.source, 'running');
});

test('a client without a certificate is sent away, and the right source is not', async () => {
  await using both = await pair();
  const port = await listen(both.target, atTarget);
  const client = connect({ host: '127.0.0.1', port, rejectUnauthorized: false });
  client.on('error', () => undefined);
  const ended = Promise.withResolvers<void>();
  client.on('close', () => ended.resolve());
  client.on('secureConnect', () => client.write('QEVM'));
  await ended.promise;
  expect(client.bytesRead).toBeLessThan(4096);
  expect(await status(both.target)).toBe('inmigrate');
  expect(await migrate(both.source, port, atSource)).toBe('completed');
});

describe('somebody who listens on the network', () => {
  const secret = 'what only the guest knows';

  /** What is heard of the move of a guest whose memory is known. */
  async function heard(trust: { source: Trust; target: Trust } | undefined): Promise<Buffer> {
    using folder = mkdtempDisposableSync(join(tmpdir(), 'vmferry-memory-'));
    const file = join(folder.path, 'memory');
    writeFileSync(file, secret.repeat(65536));
    const memory = ['-device', `loader,file=${file},addr=0x800000,force-raw=on`];
    await using both = await pair({ extra: [...memory, '-S'] });
    await using network = await Eavesdropper.before(await listen(both.target, trust?.target));
    expect(await migrate(both.source, network.port, trust?.source)).toBe('completed');
    return network.heard;
  }

  test('reads the guest’s memory, unless it is encrypted', async () => {
    const open = await heard(undefined);
    expect(open.length).toBeGreaterThan(secret.length * 65536);
    expect(open.includes(secret)).toBe(true);
    const encrypted = await heard({ source: atSource, target: atTarget });
    expect(encrypted.length).toBeGreaterThan(secret.length * 65536);
    expect(encrypted.includes(secret)).toBe(false);
    expect(encrypted.includes(secret.slice(0, 8))).toBe(false);
  });
});

describe('the files', () => {
  test('are gone when QEMU has read them', async () => {
    await using both = await pair();
    await installStreamCredentials(both.source, {
      id,
      endpoint: 'client',
      own: ofSource,
      peerCertificate: ofTarget.certificate,
    });
    expect(await objects(both.source)).toContain(id);
    expect(readdirSync(both.node.runFolder()).sort()).toEqual(['qmp', 'qmp2']);
  });

  test('are gone when QEMU refuses them, and the next ones are taken', async () => {
    await using both = await pair();
    const credentials = { id, endpoint: 'client', own: ofSource, peerCertificate: ofTarget.certificate } as const;
    const mismatched = { ...ofSource, privateKey: ofThird.privateKey };
    await expect(installStreamCredentials(both.source, { ...credentials, own: mismatched })).rejects.toMatchObject({
      code: 'QmpCommandFailed',
    });
    expect(readdirSync(both.node.runFolder()).sort()).toEqual(['qmp', 'qmp2']);
    await installStreamCredentials(both.source, credentials);
    // Once more, as an agent that ended in between would.
    await installStreamCredentials(both.source, credentials);
    expect(await objects(both.source)).toContain(id);
  });

  test('are not written for what is no certificate', async () => {
    await using both = await pair();
    const credentials = { id, endpoint: 'client', own: ofSource, peerCertificate: 'nonsense' } as const;
    await expect(installStreamCredentials(both.source, credentials)).rejects.toThrow(InvalidPeerCertificate);
    expect(await objects(both.source)).not.toContain(id);
  });
});

test('after a refused attempt its traces are removed, and the VM’s own objects are not', async () => {
  await using both = await pair();
  const before = await objects(both.source);
  const port = await listen(both.target, atTarget);
  expect(await migrate(both.source, port, { own: ofThird, peer: ofTarget })).toBe('failed');
  expect((await objects(both.source)).sort()).toEqual([...before, id].sort());
  await removeTraces(both.source);
  expect(await objects(both.source)).toEqual(before);
  const parameters = await (await both.source.monitor()).execute('query-migrate-parameters');
  expect(parameters).toMatchObject({ 'tls-creds': '', 'tls-hostname': stamp });
  expect(await migrate(both.source, port, atSource)).toBe('completed');
});

test('a certificate is trusted alone, not what was sent along with it', async () => {
  await using both = await pair();
  const crowd = { ...ofSource, certificate: `${ofSource.certificate}${ofThird.certificate}` };
  const port = await listen(both.target, { own: ofTarget, peer: crowd });
  expect(await migrate(both.source, port, { own: ofThird, peer: ofTarget })).toBe('failed');
  expect(await migrate(both.source, port, atSource)).toBe('completed');
});
