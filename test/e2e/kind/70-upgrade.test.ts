/** What an upgrade changes beneath running VMs: the API, and the QEMU they run in. Controllers and agents: `40-restarts.test.ts`. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { parseAllDocuments, stringify } from 'yaml';
import { systemNamespace } from '../../../src/api/labels.ts';
import { assertOneLife } from './one-life.ts';
import { kubectl, readSite } from './site.ts';
import { KindSystem } from './system.ts';

const taggable = readSite().nodes !== undefined;
if (!taggable) console.warn('SKIPPED: another image of QEMU; this cluster’s nodes are not the tests’ to put images on');

let system: KindSystem;
beforeAll(async () => {
  system = await KindSystem.start('upgrade');
});
afterEach(async () => {
  await system.kubectl('delete', 'vmm,vm', '--all', '--timeout=120s');
  await system.install();
});
afterAll(() => system?.[Symbol.asyncDispose]());

async function migrated(name: string, virtualMachineName: string): Promise<void> {
  await system.migrate(name, virtualMachineName);
  const { status } = await system.finished(name);
  expect(status, status?.message).toMatchObject({ phase: 'Succeeded' });
}

interface Definition {
  kind: string;
  metadata: { name: string };
  spec: { versions: { schema: { openAPIV3Schema: { properties: { spec: { properties: object } } } } }[] };
}

/** The CRD of VMs as it is installed, with one optional field more. */
async function withAnotherField(name: string): Promise<string> {
  const manifests = parseAllDocuments(await kubectl(['kustomize', system.site.kustomization]));
  const objects = manifests.map((document): Definition => document.toJS());
  const crd = objects.find(
    ({ kind, metadata }) => kind.endsWith('Definition') && /^virtualmachines\./.test(metadata.name),
  );
  const properties = crd?.spec.versions[0]?.schema.openAPIV3Schema.properties.spec.properties;
  if (properties === undefined) throw new Error('the manifests have no CRD of VMs');
  Object.assign(properties, { [name]: { type: 'string', maxLength: 64 } });
  return JSON.stringify(crd);
}

test('a CRD with a field more is applied over the old: a VM runs on, can have the field, and keeps it when it moves', async () => {
  await system.startVirtualMachine('web');
  const before = await system.virtualMachine('web');
  await kubectl(['apply', '-f', '-'], await withAnotherField('nickname'));
  const { metadata } = await system.until('the API has the field', async () => {
    await system.change('web', { nickname: 'spider' });
    const vm = await system.virtualMachine('web');
    return 'nickname' in vm.spec ? vm : undefined;
  });
  expect(metadata.uid).toBe(before.metadata.uid);
  await migrated('web-1', 'web');
  const { spec, status } = await system.virtualMachine('web');
  expect(spec).toMatchObject({ ...before.spec, nickname: 'spider' });
  expect(status?.hardware).toEqual(before.status?.hardware);
  const { moves } = await assertOneLife(system, 'web');
  expect(moves).toHaveLength(1);
});

/** Tells the operator of another image for VM pods, as an overlay of its own does. */
async function installWithQemu(image: string): Promise<void> {
  const folder = path.join(path.dirname(system.site.kustomization), 'another-qemu');
  await mkdir(folder, { recursive: true });
  const name = 'vmferry-settings';
  const settings = { name, namespace: systemNamespace, behavior: 'merge', literals: [`qemu-image=${image}`] };
  const resources = [path.relative(folder, system.site.kustomization)];
  await writeFile(path.join(folder, 'kustomization.yaml'), stringify({ resources, configMapGenerator: [settings] }));
  try {
    await system.install(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** What the one pod of a VM runs. */
async function qemuOf(name: string): Promise<{ image: string | undefined; machine: string | undefined }> {
  const [{ spec } = { spec: { containers: [] } }, ...others] = await system.podsOf(name);
  expect(others).toEqual([]);
  const { image, args = [] } = spec.containers[0] ?? {};
  return { image, machine: args[args.indexOf('-machine') + 1] };
}

test.skipIf(!taggable)(
  'another image of QEMU: VMs keep theirs until they move, and their machine for good',
  async () => {
    await system.startVirtualMachine('db');
    const { hardware } = (await system.virtualMachine('db')).status ?? {};
    const old = await qemuOf('db');
    const next = { image: `${old.image}-next`, machine: hardware?.machineType };
    await using _tagged = await system.tagOnWorkers(old.image ?? '', next.image);
    await installWithQemu(next.image);
    await system.goesOn('db');
    expect(await qemuOf('db')).toEqual({ ...old, machine: next.machine });

    await migrated('db-1', 'db');
    await assertOneLife(system, 'db');
    expect(await qemuOf('db')).toEqual(next);

    // An upgrade that is taken back.
    await system.install();
    await migrated('db-2', 'db');
    const { moves } = await assertOneLife(system, 'db');
    expect(moves).toHaveLength(2);
    expect(await qemuOf('db')).toEqual(old);
    expect((await system.virtualMachine('db')).status?.hardware).toEqual(hardware);
    await system.kubectl('delete', 'vm', 'db', '--timeout=60s');
  },
);
