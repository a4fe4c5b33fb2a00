/** `kubectl drain` of a worker with six VMs: it is empty at the end, and every guest lives on elsewhere. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { labels } from '../../../src/api/labels.ts';
import type { VirtualMachineMigration } from '../../../src/api/objects.ts';
import { KubeClient } from '../../../src/kube/client.ts';
import { KubeTransport, loadKubeConfig } from '../../../src/kube/transport.ts';
import { type EvictionAnswer, evict } from '../../cluster/evict.ts';
import { type BareGuest, BareGuests } from './bare-guests.ts';
import { spread, tell } from './measured.ts';
import { assertOneLife, assertUnbrokenLife } from './one-life.ts';
import { kubectl } from './site.ts';
import { KindSystem } from './system.ts';

const count = 6;
const guest = { totalMiB: 32, heartbeatMilliseconds: 20 };
const size = { memory: '48Mi', resources: { requests: { cpu: '50m' } } };
const names = namesOf('web');

let system: KindSystem;
let drained: string;
let other: string;
beforeAll(async () => {
  system = await KindSystem.start('drain');
  [drained = '', other = ''] = await system.workers();
});
afterAll(async () => {
  await kubectl(['uncordon', drained]);
  await system?.[Symbol.asyncDispose]();
});

function namesOf(kind: string): string[] {
  return Array.from({ length: count }, (_, index) => `${kind}-${index + 1}`);
}

async function evictOnce(podName: string, options: { dryRun?: boolean } = {}): Promise<EvictionAnswer> {
  await using transport = new KubeTransport(loadKubeConfig());
  return await evict(new KubeClient(transport), podName, { namespace: system.namespace, ...options });
}

async function migrations(): Promise<VirtualMachineMigration[]> {
  return JSON.parse(await system.kubectl('get', 'vmm', '-o', 'json')).items;
}

const gapOf = ({ gapMilliseconds }: { gapMilliseconds: number }) => gapMilliseconds;

async function nodeOf(name: string): Promise<string | undefined> {
  return (await system.virtualMachine(name)).status?.placement?.nodeName;
}

test('what a drain is measured by: six pods whose guests a script moves, one after the other', async (context) => {
  await using bare = await BareGuests.start(system);
  const guests: BareGuest[] = [];
  for (const name of namesOf('bare')) guests.push(await bare.launch(name, drained, guest, size));
  const begun = performance.now();
  for (const one of guests) {
    await one.prepare(other);
    await one.move();
  }
  const took = performance.now() - begun;
  const gaps: number[] = [];
  for (const { name } of guests) gaps.push(...(await assertUnbrokenLife(system, name)).moves.map(gapOf));
  expect(gaps).toHaveLength(count);
  tell(context, `one pod and one bare migration after the other: ${(took / 1000).toFixed(1)} s`);
  tell(context, `the guests' own gaps, of which 0 to 20 ms are their heartbeat's: ${spread(gaps)}`);
});

test('an eviction is refused and starts a migration, and as a dry run starts nothing', async () => {
  const spec = { ...size, nodeSelector: { 'kubernetes.io/hostname': drained } };
  for (const name of names) {
    await system.startVirtualMachine(name, guest, spec);
    // It may leave.
    await system.kubectl('patch', 'vm', name, '--type=json', '-p', '[{"op":"remove","path":"/spec/nodeSelector"}]');
  }
  const [name = ''] = names;
  const { podName = '', podUID } = (await system.virtualMachine(name)).status?.placement ?? {};
  expect(await evictOnce(podName, { dryRun: true })).toMatchObject({
    status: 429,
    message: expect.stringContaining('This is a dry run and starts nothing'),
  });
  expect(await migrations()).toEqual([]);
  expect(await evictOnce(podName)).toMatchObject({
    status: 429,
    message: expect.stringContaining(`is made to carry vm/${name} away from ${drained}`),
  });
  const { status } = await system.finished(`${name}-evict-${podUID?.slice(0, 8)}-1`);
  expect(status, status?.message).toMatchObject({ phase: 'Succeeded', sourceNode: drained });
  // Back, for what follows.
  await system.migrate('back', name, { target: { nodeName: drained } });
  expect((await system.finished('back')).status).toMatchObject({ phase: 'Succeeded', targetNode: drained });
  await system.kubectl('delete', 'vmm', '--all');
  await assertOneLife(system, name);
});

test('a drain moves six VMs away while their guests run', async (context) => {
  const begun = performance.now();
  await kubectl(['drain', drained, '--ignore-daemonsets', '--delete-emptydir-data', '--timeout=240s']);
  const took = performance.now() - begun;
  expect((await system.pods()).filter(({ spec }) => spec.nodeName === drained)).toEqual([]);
  const gaps: number[] = [];
  for (const name of names) {
    gaps.push(...(await assertOneLife(system, name)).moves.slice(-1).map(gapOf));
    expect(await nodeOf(name)).not.toBe(drained);
  }
  const made = await migrations();
  expect(made.map(({ spec, status }) => [spec.virtualMachineName, status?.phase]).toSorted()).toEqual(
    names.map((vm) => [vm, 'Succeeded']),
  );
  for (const { metadata } of made) expect(metadata.labels?.[labels.evictedPod]).toBeDefined();
  tell(context, `kubectl drain of ${count} VMs, which asks again every 5 s: ${(took / 1000).toFixed(1)} s`);
  tell(context, 'what its migrations had reached after how many seconds:', ...storiesOf(made));
  tell(context, `the guests' own gaps, of which 0 to 20 ms are their heartbeat's: ${spread(gaps)}`);
});

/** A line for each, on one clock that begins with the first of them. */
function storiesOf(made: readonly VirtualMachineMigration[]): string[] {
  const timelines = made.map(({ status }) => status?.timeline ?? []);
  const begun = Math.min(...timelines.flat().map(({ at }) => Date.parse(at)));
  const seconds = (at: string) => ((Date.parse(at) - begun) / 1000).toFixed(1);
  return timelines.map((timeline) => timeline.map(({ phase, at }) => `${phase} ${seconds(at)}`).join(', '));
}
