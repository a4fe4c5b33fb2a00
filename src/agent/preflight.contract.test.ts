import { expect, test } from 'vitest';
import { readPreflight, warmPreflight } from './preflight.ts';
import { Node, podUID } from './started-qemu.test-support.ts';

test('a running guest and the QEMU that waits for it describe the same machine', async () => {
  await using node = new Node();
  await using registry = await node.registry();
  const targetUID = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
  node.start();
  node.start({ uid: targetUID, extra: ['-S', '-incoming', 'defer'] });
  const [source, target] = [registry.get(podUID), registry.get(targetUID)];
  for (const qemu of [source, target])
    await expect
      .poll(() =>
        warmPreflight(qemu).then(
          () => 'warm',
          (error: unknown) => error,
        ),
      )
      .toBe('warm');
  const { machineTypes, ...facts } = await readPreflight(source);
  expect(facts).toEqual({
    qemuVersion: expect.stringMatching(/^\d+\.\d+\.\d+$/),
    machineType: 'pc-q35-7.2',
    accelerator: 'tcg',
    cpuModel: 'qemu64',
    cpuFeatures: expect.stringMatching(/^[0-9a-f]{64}$/),
    memoryBytes: 32776 * 1024,
    hardwareHash: expect.stringMatching(/^[0-9a-f]{64}$/),
    runState: 'running',
    blockers: [],
  });
  expect(machineTypes).toContain('pc-q35-7.2');
  expect(machineTypes.every((name) => name.startsWith('pc-q35-'))).toBe(true);
  expect(await readPreflight(target)).toEqual({ machineTypes, ...facts, runState: 'inmigrate' });
});

test('a feature that the accelerator lacks is named, and another CPU has other features', async () => {
  await using node = new Node();
  await using registry = await node.registry();
  const plainUID = '7c9e6679-7425-40de-944b-e07fc1f90ae7';
  node.start({ extra: ['-cpu', 'Skylake-Server-v4'] });
  node.start({ uid: plainUID });
  for (const uid of [podUID, plainUID])
    await expect
      .poll(() =>
        warmPreflight(registry.get(uid)).then(
          () => 'warm',
          (error: unknown) => error,
        ),
      )
      .toBe('warm');
  const skylake = await readPreflight(registry.get(podUID));
  const plain = await readPreflight(registry.get(plainUID));
  expect(skylake.cpuModel).toBe('Skylake-Server-v4');
  expect(skylake.missingCPUFeatures).toContain('avx512f');
  expect(skylake.cpuFeatures).not.toBe(plain.cpuFeatures);
});

test('what is read each time is true each time', async () => {
  await using node = new Node();
  await using registry = await node.registry();
  node.start();
  const qemu = registry.get(podUID);
  await expect
    .poll(() =>
      warmPreflight(qemu).then(
        () => 'warm',
        (error: unknown) => error,
      ),
    )
    .toBe('warm');
  await (await qemu.monitor()).execute('stop');
  expect((await readPreflight(qemu)).runState).toBe('paused');
});
