import { expect, test } from 'vitest';
import type { VirtualMachine, VirtualMachineMigration } from '../../api/objects.ts';
import { evictionMigration, nextEvictionMigration } from './eviction-migration.ts';

const name = 'v'.repeat(40);
const vm = {
  apiVersion: 'vmferry.io/v1alpha1',
  kind: 'VirtualMachine',
  metadata: { name, namespace: 'default', uid: 'vm-uid' },
  spec: { memory: '1Gi', firmware: { bios: {} } },
} as unknown as VirtualMachine;
const podUID = '0f8fad5b-d9cb-469f-a165-70867728950e';

test('it belongs to its VM, keeps it from nothing, and is removed in time', () => {
  const { metadata, spec } = evictionMigration(vm, podUID, 'm');
  expect(spec).toEqual({ virtualMachineName: name, backoffLimit: 2, ttlAfterFinished: '1h' });
  expect(metadata).toEqual({
    name: 'm',
    namespace: 'default',
    labels: { 'vmferry.io/virtual-machine': name, 'vmferry.io/evicted-pod': podUID },
    ownerReferences: [{ apiVersion: 'vmferry.io/v1alpha1', kind: 'VirtualMachine', name, uid: 'vm-uid' }],
  });
});

test('the longest name of a VM leaves room for a number that is never reached', () => {
  const made = evictionMigration(vm, podUID, `${name}-evict-0f8fad5b-99998`);
  const next = nextEvictionMigration(vm, podUID, [made as unknown as VirtualMachineMigration], 0);
  expect(next.name).toMatch(/-99999$/);
  expect(next.name.length).toBeLessThanOrEqual(63);
});
