import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { streamCredentialsID, traceName } from '../../migration/attempt.ts';
import { QmpConnection } from '../../qmp/connection.ts';
import { FakeMonitor } from '../../qmp/testdata/fake-monitor.ts';
import { RunVolume } from '../qemu/run-volume.ts';
import { removeTraces } from './traces.ts';

const podUID = '0f8fad5b-d9cb-469f-a165-70867728950e';
const migrationUID = '3d813cbb-47fb-32ba-91df-831e1593ac29';
const credentials = (attempt: number) => streamCredentialsID(migrationUID, attempt);
const notFound = { error: { class: 'GenericError', desc: "object 'x' not found" } };

let root: string;
let run: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'vmferry-traces-'));
  run = join(root, podUID, 'volumes', 'kubernetes.io~empty-dir', 'run');
  mkdirSync(run, { recursive: true });
});
afterEach(() => rmSync(root, { recursive: true }));

/** A QEMU with these objects; `stubborn` ones stay, whatever it answers. */
async function played(objects: string[], options: { inUse?: string; stubborn?: readonly string[] } = {}) {
  const fake = await FakeMonitor.listen();
  const present = new Set(objects);
  const parameters = { 'tls-creds': options.inUse ?? '', 'tls-hostname': 'kept' };
  fake.answer = ({ execute, arguments: given }) => {
    const { id = '' } = (given ?? {}) as { id?: string };
    if (execute === 'qom-list') {
      const children = [...present].map((name) => ({ name, type: 'child<x>' }));
      return { return: [{ name: 'type', type: 'string' }, ...children] };
    }
    if (execute === 'query-migrate-parameters') return { return: parameters };
    if (execute === 'migrate-set-parameters') Object.assign(parameters, given);
    if (execute === 'object-del' && (options.stubborn?.includes(id) || !present.delete(id))) return notFound;
    return { return: {} };
  };
  const monitor = await QmpConnection.open(fake.path);
  return {
    present,
    parameters,
    qemu: { monitor: async () => monitor, runVolume: () => RunVolume.open(root, podUID) },
    async [Symbol.asyncDispose]() {
      await monitor[Symbol.asyncDispose]();
      await fake[Symbol.asyncDispose]();
    },
  };
}

test('everything of attempts goes, and nothing else', async () => {
  await using qemu = await played(['pc.ram', credentials(1), 'my-secret', traceName(migrationUID, 2)], {
    inUse: credentials(1),
  });
  mkdirSync(join(run, `.vmferry-${podUID}`));
  await removeTraces(qemu.qemu);
  expect([...qemu.present]).toEqual(['pc.ram', 'my-secret']);
  expect(qemu.parameters).toEqual({ 'tls-creds': '', 'tls-hostname': 'kept' });
  expect(readdirSync(run)).toEqual([]);
});

test('the attempt that is kept stays, and the tenth is not taken for the first', async () => {
  await using qemu = await played([credentials(1), credentials(10), traceName(migrationUID, 1)], {
    inUse: credentials(1),
  });
  await removeTraces(qemu.qemu, { keep: traceName(migrationUID, 1) });
  expect([...qemu.present]).toEqual([credentials(1), traceName(migrationUID, 1)]);
  expect(qemu.parameters['tls-creds']).toBe(credentials(1));
});

test('credentials of somebody else stay in use', async () => {
  await using qemu = await played([], { inUse: 'theirs' });
  await removeTraces(qemu.qemu);
  expect(qemu.parameters['tls-creds']).toBe('theirs');
});

test('what QEMU does not let go of is named, and the rest is removed nevertheless', async () => {
  await using qemu = await played([credentials(1), credentials(2)], { stubborn: [credentials(1)] });
  mkdirSync(join(run, `.vmferry-${podUID}`));
  await expect(removeTraces(qemu.qemu)).rejects.toMatchObject({
    code: 'TracesLeft',
    message: `QEMU keeps ${credentials(1)}`,
    cause: { description: "object 'x' not found" },
  });
  expect([...qemu.present]).toEqual([credentials(1)]);
  expect(readdirSync(run)).toEqual([]);
});
