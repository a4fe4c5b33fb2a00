/** What befalls the pod of a VM: its restart policy says what follows, and the guest never runs twice. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { labels } from '../../../src/api/labels.ts';
import type { Pod } from '../../../src/kube/core-resources.ts';
import { exhaustMemory } from './on-node.ts';
import { assertNeverTwo, assertOneLife } from './one-life.ts';
import { kubectl } from './site.ts';
import { KindSystem } from './system.ts';

let system: KindSystem;
beforeAll(async () => {
  system = await KindSystem.start('pods');
});
afterEach(() => system.kubectl('delete', 'vmm,vm', '--all', '--timeout=120s'));
afterAll(() => system?.[Symbol.asyncDispose]());

async function podOf(virtualMachineName: string): Promise<Pod> {
  const [pod, ...others] = await system.podsOf(virtualMachineName);
  if (pod === undefined || others.length > 0) throw new Error(`vm/${virtualMachineName} has ${others.length + 1} pods`);
  return pod;
}

/** Waits until a VM is down for good, without a pod. */
async function staysDown(name: string, phase: 'Stopped' | 'Failed') {
  const { status } = await system.reached(name, phase);
  await system.until('its pod is gone', async () => ((await system.podsOf(name)).length === 0 ? true : undefined));
  return status;
}

/** Waits until a VM runs again after one end. */
async function runsAgain(name: string) {
  const { status } = await system.reached(name, 'Running', 2);
  await system.goesOn(name);
  expect(assertNeverTwo(system.console(name))).toEqual({ lives: 2 });
  return status;
}

test('a guest that takes its time to power down has it, and then its pod goes at once', async () => {
  // As a large guest: what the power button says is done much later.
  const guest = { obeyPowerButton: false, powerOffAfterMilliseconds: 15_000 };
  await system.startVirtualMachine('slow', guest, { terminationGracePeriodSeconds: 60, restartPolicy: 'Never' });
  const { name } = (await podOf('slow')).metadata;
  const poweredOff = system.console('slow').waitFor(/^Q/m, AbortSignal.timeout(60_000));
  await system.kubectl('delete', 'pod', name, '--wait=false');
  await poweredOff;
  const offAt = Date.now();
  await system.kubectl('wait', '--for=delete', `pod/${name}`, '--timeout=90s');
  // It had another 45 seconds.
  expect(Date.now() - offAt).toBeLessThan(15_000);
  expect((await staysDown('slow', 'Stopped'))?.lastEnd).toMatchObject({ reason: 'PodDeleted', exitCode: 0 });
});

test('deleted by force, a pod stays until its node has told of its end', async () => {
  await system.startVirtualMachine('forced', { obeyPowerButton: false }, { terminationGracePeriodSeconds: 5 });
  const { name } = (await podOf('forced')).metadata;
  await system.kubectl('delete', 'pod', name, '--force', '--grace-period=0', '--wait=false');
  const status = await runsAgain('forced');
  expect(status?.lastEnd).toMatchObject({ podName: name, reason: 'PodDeleted', exitCode: expect.any(Number) });
});

test('evicted, a VM whose policy is Stop is powered down, and starts again', async () => {
  await system.startVirtualMachine('evicted', {}, { evictionPolicy: 'Stop' });
  const { name, namespace } = (await podOf('evicted')).metadata;
  const poweredOff = system.console('evicted').waitFor(/^Q/m, AbortSignal.timeout(60_000));
  const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } };
  const path = `/api/v1/namespaces/${namespace}/pods/${name}/eviction`;
  await Promise.all([poweredOff, kubectl(['create', '--raw', path, '-f', '-'], JSON.stringify(eviction))]);
  const status = await runsAgain('evicted');
  expect(status?.lastEnd).toMatchObject({ podName: name, reason: 'PodDeleted', exitCode: 0 });
  expect(await system.kubectl('get', 'vmm', '-l', labels.evictedPod, '-o', 'name')).toBe('');
});

test('evicted by its kubelet, a VM starts again, whatever the kubelet remembers of it', async () => {
  // Whatever is written counts: the kubelet finds the pod over its limit when it looks next.
  const metadata = { name: 'nothing-written' };
  const limits = [{ type: 'Container', default: { 'ephemeral-storage': '1' } }];
  await system.apply({ apiVersion: 'v1', kind: 'LimitRange', metadata, spec: { limits } });
  await system.startVirtualMachine('pressed');
  await system.kubectl('delete', 'limitrange', metadata.name);
  const status = await runsAgain('pressed');
  // Mostly it forgets the container, or why it ended it.
  expect(status?.lastEnd?.reason).toMatch(/^(PodEvicted|GuestPoweredOff)$/);
});

test.each([
  ['OnFailure', 'starts again'],
  ['Never', 'is left to its owner'],
] as const)('killed by the kernel for want of memory, a VM of restart policy %s %s', async (restartPolicy, _what) => {
  const name = `oom-${restartPolicy.toLowerCase()}`;
  await system.startVirtualMachine(name, {}, { restartPolicy });
  await exhaustMemory(await podOf(name));
  const status = await (restartPolicy === 'Never' ? staysDown(name, 'Failed') : runsAgain(name));
  const message = expect.stringContaining('OOMKilled');
  expect(status?.lastEnd).toMatchObject({ podName: `${name}-1`, reason: 'QemuFailed', exitCode: 137, message });
  expect(assertNeverTwo(system.console(name))).toEqual({ lives: restartPolicy === 'Never' ? 1 : 2 });
});

test('deleted while its guest moves, a pod keeps it running until it has moved, and then goes at once', async () => {
  await system.startVirtualMachine('moving', { totalMiB: 64 }, { terminationGracePeriodSeconds: 60 });
  const { name } = (await podOf('moving')).metadata;
  await system.migrate('moving-1', 'moving', { transfer: { maxBandwidth: '8Mi' } });
  await system.bytesFlow('moving-1');
  await system.kubectl('delete', 'pod', name, '--wait=false');
  const { status } = await system.finished('moving-1');
  expect(status, status?.message).toMatchObject({ phase: 'Succeeded' });
  expect(status?.conditions).toContainEqual(expect.objectContaining({ type: 'SourceCleaned', status: 'True' }));
  const { moves } = await assertOneLife(system, 'moving');
  expect(moves).toHaveLength(1);
});
