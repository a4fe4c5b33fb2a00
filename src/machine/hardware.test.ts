import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { anyAccelerator, anySpec, exampleSpec, uid } from './examples.testing.ts';
import { defineHardware, hardwareHash } from './hardware.ts';

const tcg = { accelerator: 'tcg' } as const;

test('a definition is complete, and its hash is that of the rest', () => {
  const { hash, ...rest } = defineHardware({ uid, spec: exampleSpec }, tcg);
  expect(rest).toEqual({
    machineType: 'pc-q35-7.2',
    accelerator: 'tcg',
    uuid: uid,
    cpu: { model: 'qemu64', cores: 2 },
    memoryBytes: 256 * 1024 ** 2 + 8192,
    firmware: exampleSpec.firmware,
    networks: [{ name: 'default', macAddress: '52:54:00:60:b0:84', pciAddress: '0x10' }],
  });
  expect(hash).toBe(hardwareHash(rest));
});

describe('the machine type', () => {
  test.each([
    ['the alias of a new VM is the newest that every QEMU knows', 'q35', undefined, 'pc-q35-7.2'],
    ['no word on it means the alias', undefined, undefined, 'pc-q35-7.2'],
    ['the alias keeps what the VM had', 'q35', 'pc-q35-6.2', 'pc-q35-6.2'],
    ['a version is taken by its name', 'pc-q35-10.0', undefined, 'pc-q35-10.0'],
    ['a version asked for wins over what the VM had', 'pc-q35-10.0', 'pc-q35-7.2', 'pc-q35-10.0'],
  ])('%s', (_scenario, machineType, frozenMachineType, resolved) => {
    const vm = {
      uid,
      spec: { ...exampleSpec, ...(machineType && { machineType }) },
      ...(frozenMachineType && { frozenMachineType }),
    };
    expect(defineHardware(vm, tcg).machineType).toBe(resolved);
  });
});

test('addresses differ between networks and between VMs, and stay the same for each', () => {
  const networks = [
    { name: 'a', podNetwork: {} },
    { name: 'b', podNetwork: {} },
  ];
  const addresses = (ofUid: string) =>
    defineHardware({ uid: ofUid, spec: { ...exampleSpec, networks } }, tcg).networks.map(
      ({ macAddress }) => macAddress,
    );
  const other = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
  expect(new Set([...addresses(uid), ...addresses(other)]).size).toBe(4);
  expect(addresses(uid)).toEqual(addresses(uid));
});

test('under TCG no memory is a multiple of 256 KiB, and KVM guests get what they asked for', () => {
  fc.assert(
    fc.property(anySpec, (spec) => {
      const asked = defineHardware({ uid, spec }, { accelerator: 'kvm' }).memoryBytes;
      const given = defineHardware({ uid, spec }, tcg).memoryBytes;
      return asked % 1024 ** 2 === 0 && given % (256 * 1024) !== 0 && given - asked <= 8192;
    }),
  );
});

test('the hash does not depend on the order of members', () => {
  fc.assert(
    fc.property(anySpec, anyAccelerator, (spec, accelerator) => {
      const { hash, ...rest } = defineHardware({ uid, spec }, { accelerator });
      return hardwareHash(reversed(rest)) === hash;
    }),
  );
});

test('the hash depends on every part of the machine', () => {
  const hash = (change: object) => defineHardware({ uid, spec: { ...exampleSpec, ...change } }, tcg).hash;
  const changes = [
    {},
    { memory: '257Mi' },
    { cpu: { cores: 1 } },
    { cpu: { cores: 2, model: 'max' } },
    { machineType: 'pc-q35-8.0' },
    { firmware: { bios: {} } },
    { networks: [] },
    { networks: [{ name: 'other', podNetwork: {} }] },
  ];
  expect(new Set(changes.map(hash)).size).toBe(changes.length);
});

function reversed<T>(value: T): T {
  if (Array.isArray(value)) return value.map(reversed) as T;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, member]) => [key, reversed(member)])
      .reverse(),
  ) as T;
}
