import { afterAll, beforeAll, expect, test } from 'vitest';
import { ensureLinuxGuest } from '../../guest/linux/linux.ts';
import { putOnEveryNode, volumeOfGuests } from './guest-volume.ts';
import { assertOneLife } from './one-life.ts';
import { KindSystem } from './system.ts';

let system: KindSystem;
beforeAll(async () => {
  system = await KindSystem.start('virtual-machine');
});
afterAll(() => system?.[Symbol.asyncDispose]());

test('a VM comes up in a namespace that is restricted, and its pod is ready when its guest runs', async () => {
  await system.startVirtualMachine('web');
  const { status } = await system.virtualMachine('web');
  expect(status).toMatchObject({ phase: 'Running', placement: { generation: 1 } });
  const pod = await system.until('its pod is ready', async () => {
    const [only] = await system.podsOf('web');
    const ready = only?.status?.conditions?.find(({ type }) => type === 'Ready');
    return ready?.status === 'True' ? only : undefined;
  });
  expect(pod.metadata.uid).toBe(status?.placement?.podUID);
});

test('a pod that is deleted by hand gives its guest the time to power down, and the VM starts again', async () => {
  const [pod] = await system.podsOf('web');
  const name = pod?.metadata.name ?? '';
  const poweredOff = system.console('web').waitFor(/^Q/m, AbortSignal.timeout(20_000));
  await Promise.all([poweredOff, system.kubectl('delete', 'pod', name, '--timeout=30s')]);
  const { status } = await system.reached('web', 'Running', 2);
  expect(status?.placement?.podName).not.toBe(name);
  expect(status?.lastEnd).toMatchObject({ podName: name, exitCode: 0 });
});

test('a VM that is deleted leaves no pod', async () => {
  await system.kubectl('delete', 'vm', 'web', '--timeout=60s');
  await system.until('its pod is gone', async () => ((await system.podsOf('web')).length === 0 ? true : undefined));
});

test('Linux boots from a volume of the cluster, and counts on while it moves', async () => {
  const { kernel, initrd, commandLine } = await ensureLinuxGuest();
  for (const [file, name] of [
    [kernel, 'vmlinuz'],
    [initrd, 'initrd'],
  ] as const)
    await putOnEveryNode(file, name);
  await using _volume = await volumeOfGuests(system);
  const ofVolume = (path: string) => ({ persistentVolumeClaim: { claimName: 'guests', path } });
  const counting = system.console('linux').waitFor(/counter=20 /, AbortSignal.timeout(120_000));
  counting.catch(() => undefined); // awaited below
  await system.applyVirtualMachine('linux', {
    memory: '256Mi',
    networks: [{ name: 'default', podNetwork: {} }],
    firmware: { kernel: { image: ofVolume('vmlinuz'), initrd: ofVolume('initrd'), commandLine } },
  });
  await counting;
  await system.migrate('linux-1', 'linux');
  const { status } = await system.finished('linux-1');
  expect(status, status?.message).toMatchObject({ phase: 'Succeeded' });
  const { moves } = await assertOneLife(system, 'linux');
  expect(moves).toHaveLength(1);
  await system.kubectl('delete', 'vm', 'linux', '--timeout=60s');
});
