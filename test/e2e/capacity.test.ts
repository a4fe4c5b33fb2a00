/** More migrations than may be under way at once: they wait, the oldest first, and say for what. What is counted meanwhile is seen by Prometheus. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { checkout } from '../../dev/cache.ts';
import { assertUnbroken, readHeartbeats } from '../guest/heartbeat.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { System } from './system.ts';

/** In the order of their names, too: of those of one second, the names decide. */
const names = ['vm-1', 'vm-2', 'vm-3', 'vm-4'];
/** Slower than the guest writes: it goes on until it is told to go faster. */
const slow = { transfer: { maxBandwidth: '512Ki' } };

let system: System;
const recorders: HeartbeatRecorder[] = [];
const kubectl = (...args: string[]) => system.cluster.kubectl(...args);

beforeAll(async () => {
  system = await System.start({ nodes: ['node-a', 'node-b', 'node-c'] });
  await kubectl('cordon', 'node-b', 'node-c');
  for (const name of names)
    recorders.push(await system.startVirtualMachine(name, { totalMiB: 16, hotMiB: 1, dirtyMiBPerSecond: 1 }));
  await kubectl('uncordon', 'node-b');
});
afterAll(() => system?.[Symbol.asyncDispose]());

async function says(name: string, phase: string, message: RegExp): Promise<void> {
  await system.until(`vmm/${name} is ${phase} and says ${message}`, async () => {
    const { status } = await system.migration(name);
    return (status?.phase === phase && message.test(status.message ?? '')) || undefined;
  });
}

async function succeeds(name: string): Promise<void> {
  await system.speedUp(name);
  const { status } = await system.finished(name);
  expect(status, status?.message).toMatchObject({ phase: 'Succeeded' });
}

/** The value of one series, and 0 where there is none. */
async function metric(process: Parameters<System['cluster']['metrics']>[0], series: string): Promise<number> {
  const line = (await system.cluster.metrics(process)).split('\n').find((each) => each.startsWith(`${series} `));
  return Number(line?.split(' ').at(-1) ?? 0);
}

test('two leave a node at once; the others wait, and their VMs are free', async () => {
  for (const name of names) await system.migrate(`move-${name}`, name, slow);
  await Promise.all([system.bytesFlow('move-vm-1'), system.bytesFlow('move-vm-2')]);
  await says('move-vm-3', 'Pending', /2 VMs are being moved away from node-a.*next in the queue.*runs on node-a/);
  await says('move-vm-4', 'Pending', /number 2 in the queue/);
  expect((await system.migration('move-vm-3')).status?.reason).toBe('WaitingForCapacity');
  expect((await system.virtualMachine('vm-3')).status).not.toHaveProperty('migration');

  expect(await metric('controller', 'vmferry_migrations{phase="Transferring"}')).toBe(2);
  expect(await metric('controller', 'vmferry_migrations{phase="Pending"}')).toBe(2);
  const agent = { agentOf: 'node-a' };
  const series = 'vmferry_migration_remaining_bytes{namespace="default",name="move-vm-1"}';
  expect(await metric(agent, series)).toBeGreaterThan(0);
});

test('one that waits is cancelled at once, and the next comes nearer', async () => {
  await kubectl('patch', 'vmm', 'move-vm-3', '--type=merge', '-p', '{"spec":{"cancel":true}}');
  expect((await system.finished('move-vm-3')).status).toMatchObject({ phase: 'Cancelled', reason: 'Cancelled' });
  await says('move-vm-4', 'Pending', /next in the queue/);
});

test('another controller counts the same', async () => {
  await system.controller.kill('SIGKILL');
  await system.controller.restart();
  await system.migrate('move-vm-3-again', 'vm-3', slow);
  await says('move-vm-3-again', 'Pending', /number 2 in the queue/);
  for (const name of ['move-vm-1', 'move-vm-2'])
    expect((await system.migration(name)).status?.phase).toBe('Transferring');
});

test('one that waits is deleted at once', async () => {
  await kubectl('delete', 'vmm', 'move-vm-3-again', '--timeout=10s');
});

test('the next goes when one has ended, and everything that happened was counted', async () => {
  await succeeds('move-vm-1');
  await system.bytesFlow('move-vm-4');
  await succeeds('move-vm-2');
  await succeeds('move-vm-4');
  expect(await metric('controller', 'vmferry_migrations_total{result="Succeeded",reason="Migrated"}')).toBe(3);
  expect(await metric('controller', 'vmferry_migration_downtime_seconds_count')).toBe(3);
  expect(await metric('controller', 'vmferry_migration_duration_seconds_count{result="Succeeded"}')).toBe(3);
  expect(await metric('controller', 'vmferry_migration_phase_duration_seconds_count{phase="Transferring"}')).toBe(3);
  expect(await metric('controller', 'vmferry_migrations{phase="Succeeded"}')).toBe(3);
  const reconciled = 'controller_runtime_reconcile_total{controller="migration",result="success"}';
  expect(await metric('controller', reconciled)).toBeGreaterThan(0);
  const agent = await system.cluster.metrics({ agentOf: 'node-a' });
  expect(agent).toContain('workqueue_adds_total{name="migration-source"}');
  expect(agent).not.toMatch(/^vmferry_migration_remaining_bytes\{/m);
});

test('docs/metrics.md has every metric of both processes, and no other', async () => {
  const page = await readFile(path.join(checkout, 'docs', 'metrics.md'), 'utf8');
  const cells = [...page.matchAll(/^\| (`.+?`) \|/gm)].map(([, cell = '']) => cell);
  const documented = cells.flatMap((cell) => [...cell.matchAll(/`(\w+)`/g)]);
  const texts = await Promise.all((['controller', { agentOf: 'node-a' }] as const).map(system.cluster.metrics));
  const served = texts.join('\n').matchAll(/^# TYPE (\w+)/gm);
  expect(documented.map(([, name]) => name).sort()).toEqual([...new Set([...served].map(([, name]) => name))].sort());
});

test('what arrives is bounded, too: a third target waits where it was placed', async () => {
  await kubectl('uncordon', 'node-c');
  const there = { ...slow, target: { nodeName: 'node-c' } };
  // Two of these come from node-b, one from node-a.
  await system.migrate('on-1', 'vm-1', there);
  await system.migrate('on-2', 'vm-2', there);
  await Promise.all([system.bytesFlow('on-1'), system.bytesFlow('on-2')]);
  await system.migrate('on-3', 'vm-3', there);
  await says('on-3', 'Preparing', /node-c is ready\. 2 VMs are being moved to node-c.*next.*runs on node-a/);
  await succeeds('on-1');
  await system.bytesFlow('on-3');
  await succeeds('on-2');
  await succeeds('on-3');
  for (const recorder of recorders) assertUnbroken(readHeartbeats(recorder.output));
});

test('one that has ended is removed when its time has come', async () => {
  await kubectl('patch', 'vmm', 'on-3', '--type=merge', '-p', '{"spec":{"ttlAfterFinished":"0s"}}');
  await kubectl('wait', '--for=delete', 'vmm/on-3', '--timeout=10s');
  await system.migrate('again', 'vm-3', { ttlAfterFinished: '1s' });
  await kubectl('wait', '--for=delete', 'vmm/again', '--timeout=60s');
  const { status } = await system.virtualMachine('vm-3');
  expect(status).toMatchObject({ phase: 'Running', lastMigration: { name: 'again', result: 'Succeeded' } });
  expect(await kubectl('get', 'vmm', '-o', 'name')).toContain('on-1');
});
