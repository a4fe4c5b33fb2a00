/** More migrations than may be under way at once: they wait, the oldest first, and say for what. What is counted meanwhile is seen by Prometheus. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { assertUnbroken, readHeartbeats } from '../guest/heartbeat.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { System } from './system.ts';

const names = ['one', 'two', 'three', 'four'];
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
  await Promise.all([system.bytesFlow('move-one'), system.bytesFlow('move-two')]);
  await says('move-three', 'Pending', /2 VMs are being moved away from node-a.*next in the queue.*runs on node-a/);
  await says('move-four', 'Pending', /number 2 in the queue/);
  expect((await system.migration('move-three')).status?.reason).toBe('WaitingForCapacity');
  expect((await system.virtualMachine('three')).status).not.toHaveProperty('migration');

  expect(await metric('controller', 'vmferry_migrations{phase="Transferring"}')).toBe(2);
  expect(await metric('controller', 'vmferry_migrations{phase="Pending"}')).toBe(2);
  const agent = { agentOf: 'node-a' };
  const series = 'vmferry_migration_remaining_bytes{namespace="default",name="move-one"}';
  expect(await metric(agent, series)).toBeGreaterThan(0);
});

test('one that waits is cancelled at once, and the next comes nearer', async () => {
  await kubectl('patch', 'vmm', 'move-three', '--type=merge', '-p', '{"spec":{"cancel":true}}');
  expect((await system.finished('move-three')).status).toMatchObject({ phase: 'Cancelled', reason: 'Cancelled' });
  await says('move-four', 'Pending', /next in the queue/);
});

test('another controller counts the same', async () => {
  await system.controller.kill('SIGKILL');
  await system.controller.restart();
  await system.migrate('move-three-again', 'three', slow);
  await says('move-three-again', 'Pending', /number 2 in the queue/);
  for (const name of ['move-one', 'move-two'])
    expect((await system.migration(name)).status?.phase).toBe('Transferring');
});

test('one that waits is deleted at once', async () => {
  await kubectl('delete', 'vmm', 'move-three-again', '--timeout=10s');
});

test('the next goes when one has ended, and everything that happened was counted', async () => {
  await succeeds('move-one');
  await system.bytesFlow('move-four');
  await succeeds('move-two');
  await succeeds('move-four');
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

test('what arrives is bounded, too: a third target waits where it was placed', async () => {
  await kubectl('uncordon', 'node-c');
  const there = { ...slow, target: { nodeName: 'node-c' } };
  // Two of these come from node-b, one from node-a.
  await system.migrate('on-one', 'one', there);
  await system.migrate('on-two', 'two', there);
  await Promise.all([system.bytesFlow('on-one'), system.bytesFlow('on-two')]);
  await system.migrate('on-three', 'three', there);
  await says('on-three', 'Preparing', /node-c is ready\. 2 VMs are being moved to node-c.*next.*runs on node-a/);
  await succeeds('on-one');
  await system.bytesFlow('on-three');
  await succeeds('on-two');
  await succeeds('on-three');
  for (const recorder of recorders) assertUnbroken(readHeartbeats(recorder.output));
});

test('one that has ended is removed when its time has come', async () => {
  await kubectl('patch', 'vmm', 'on-three', '--type=merge', '-p', '{"spec":{"ttlAfterFinished":"0s"}}');
  await kubectl('wait', '--for=delete', 'vmm/on-three', '--timeout=10s');
  await system.migrate('again', 'three', { ttlAfterFinished: '1s' });
  await kubectl('wait', '--for=delete', 'vmm/again', '--timeout=60s');
  const { status } = await system.virtualMachine('three');
  expect(status).toMatchObject({ phase: 'Running', lastMigration: { name: 'again', result: 'Succeeded' } });
  expect(await kubectl('get', 'vmm', '-o', 'name')).toContain('on-one');
});
