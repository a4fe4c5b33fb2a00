/** The last case: afterwards nothing is installed. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemNamespace } from '../../../src/api/labels.ts';
import { assertOneLife } from './one-life.ts';
import { kubectl } from './site.ts';
import { KindSystem } from './system.ts';

const crds = ['virtualmachines.vmferry.io', 'virtualmachinemigrations.vmferry.io'];

let system: KindSystem;
beforeAll(async () => {
  system = await KindSystem.start('uninstall');
});
afterAll(() => system?.[Symbol.asyncDispose]());

/** @returns what kubectl complained about */
async function uninstall(): Promise<string> {
  const complaint = await kubectl(['delete', '-k', system.site.kustomization, '--timeout=120s']).then(
    () => '',
    (error: Error) => error.message,
  );
  await kubectl(['wait', '--for=delete', `namespace/${systemNamespace}`, '--timeout=120s']);
  return complaint;
}

test('with VMs present it is refused to remove them: their guests run on, and installing again takes them up', async () => {
  await system.startVirtualMachine('web');
  const before = (await system.virtualMachine('web')).status?.placement;
  const complaint = await uninstall();
  for (const crd of crds) expect(complaint).toContain(`"${crd}" is forbidden`);
  expect(complaint).toContain('vmferry.io/uninstall=true');
  expect((await system.virtualMachine('web')).metadata.deletionTimestamp).toBeUndefined();
  await system.goesOn('web');

  await system.install();
  expect((await system.reached('web', 'Running')).status?.placement).toEqual(before);
  await system.migrate('web-1', 'web');
  const { status } = await system.finished('web-1');
  expect(status, status?.message).toMatchObject({ phase: 'Succeeded' });
  await assertOneLife(system, 'web');
});

test('whose VMs are gone and who says so removes everything', async () => {
  await kubectl(['delete', 'vmm,vm', '--all', '--all-namespaces', '--timeout=120s']);
  await kubectl(['annotate', 'crd', ...crds, 'vmferry.io/uninstall=true']);
  expect(await uninstall()).toBe('');
  const kinds =
    'crd,clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding,validatingwebhookconfiguration,namespace';
  const left = await kubectl(['get', kinds, '-o', 'name']);
  expect(left.split('\n').filter((name) => name.includes('vmferry'))).toEqual(['namespace/vmferry-e2e']);
});
