import { spawn } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { assertOneLife } from './one-life.ts';
import { KindSystem } from './system.ts';

/** Slow enough for people, and tests, to see it on its way. */
const slowly = { transfer: { maxBandwidth: '8Mi' } };

let system: KindSystem;
beforeAll(async () => {
  system = await KindSystem.start('migration');
  await system.startVirtualMachine('web', { totalMiB: 64, hotMiB: 2, dirtyMiBPerSecond: 1 });
});
afterAll(() => system?.[Symbol.asyncDispose]());

test('a VM moves while it runs, and kubectl shows how', async () => {
  const { from, to } = await system.nodesOf('web');
  const watch = spawn('kubectl', ['-n', system.namespace, 'get', 'vmm', '-w'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let watched = '';
  watch.stdout.on('data', (text) => {
    watched += text;
  });
  await system.migrate('plain', 'web', { transfer: { maxBandwidth: '40Mi' } });
  await system.kubectl('wait', '--for=condition=Succeeded', 'vmm/plain', '--timeout=120s');
  const { status } = await system.finished('plain');
  await system.until('the watch has shown the end', () => (/ 100% +\d+ms /.test(watched) ? true : undefined));
  watch.kill();

  const [header = '', ...rows] = watched.trim().split('\n');
  expect(header.trim().split(/\s+/)).toEqual(['NAME', 'VM', 'PHASE', 'FROM', 'TO', 'PROGRESS', 'DOWNTIME', 'AGE']);
  const phases = rows.map((row) => row.split(/\s+/)[2] ?? '');
  expect(phases).toContain('Transferring');
  expect(phases.at(-1)).toBe('Succeeded');
  const progress = rows.map((row) => Number(/(\d+)%/.exec(row)?.[1])).filter(Number.isFinite);
  expect(progress).toEqual(progress.toSorted((left, right) => left - right));
  expect(status).toMatchObject({ sourceNode: from, targetNode: to });
  const { moves } = await assertOneLife(system, 'web');
  expect(moves).toHaveLength(1);
});

test('the target pod is not ready before its guest runs there', async () => {
  await system.migrate('unready', 'web', slowly);
  await system.bytesFlow('unready');
  const pods = await system.podsOf('web');
  const { targetPod } = (await system.migration('unready')).status ?? {};
  expect(pods).toHaveLength(2);
  for (const { metadata, status } of pods) {
    const ready = status?.conditions?.find(({ type }) => type === 'Ready')?.status;
    expect(ready).toBe(metadata.uid === targetPod?.uid ? 'False' : 'True');
  }
  await system.speedUp('unready');
  expect((await system.finished('unready')).status?.phase).toBe('Succeeded');
  await system.until('the pod of the target is ready', async () => {
    const [pod] = await system.podsOf('web');
    return pod?.status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True' ? true : undefined;
  });
  await assertOneLife(system, 'web');
});

test('to a node that is named', async () => {
  const { to } = await system.nodesOf('web');
  await system.migrate('named', 'web', { target: { nodeName: to } });
  const { status } = await system.finished('named');
  expect(status, status?.message).toMatchObject({ phase: 'Succeeded', targetNode: to });
  await assertOneLife(system, 'web');
});

test('to a node that does not exist it waits, says why, and is cancelled', async () => {
  const before = (await system.virtualMachine('web')).status?.placement;
  await system.migrate('impossible', 'web', { target: { nodeName: 'no-such-node' } });
  const waiting = await system.until('it says why it waits', async () => {
    const { status } = await system.migration('impossible');
    return /node\(s\)|didn't match|no-such-node/.test(status?.message ?? '') ? status : undefined;
  });
  expect(waiting.phase).toBe('Scheduling');
  await system.cancel('impossible');
  const { status } = await system.finished('impossible');
  expect(status, status?.message).toMatchObject({ phase: 'Cancelled' });
  expect((await system.virtualMachine('web')).status?.placement).toEqual(before);
  await assertOneLife(system, 'web');
});

test('cancelled while bytes flow, the guest stays where it is', async () => {
  const { from } = await system.nodesOf('web');
  await system.migrate('cancelled', 'web', slowly);
  await system.bytesFlow('cancelled');
  await system.cancel('cancelled');
  const { status } = await system.finished('cancelled');
  expect(status, status?.message).toMatchObject({ phase: 'Cancelled' });
  expect((await system.nodesOf('web')).from).toBe(from);
  await assertOneLife(system, 'web');
});

test('deleted while bytes flow, it leaves nothing behind', async () => {
  const { from } = await system.nodesOf('web');
  await system.migrate('deleted', 'web', slowly);
  await system.bytesFlow('deleted');
  await system.kubectl('delete', 'vmm', 'deleted', '--timeout=60s');
  expect((await system.nodesOf('web')).from).toBe(from);
  await assertOneLife(system, 'web');
});

test('two VMs move at once, in opposite directions', async () => {
  const web = await system.nodesOf('web');
  await system.startVirtualMachine('db', { totalMiB: 32 }, { nodeSelector: { 'kubernetes.io/hostname': web.to } });
  await system.kubectl('patch', 'vm', 'db', '--type=json', '-p', '[{"op":"remove","path":"/spec/nodeSelector"}]');
  await Promise.all([system.migrate('web-over', 'web'), system.migrate('db-back', 'db')]);
  for (const name of ['web-over', 'db-back']) {
    const { status } = await system.finished(name);
    expect(status, status?.message).toMatchObject({ phase: 'Succeeded' });
  }
  expect(await system.nodesOf('web')).toMatchObject({ from: web.to });
  expect(await system.nodesOf('db')).toMatchObject({ from: web.from });
  for (const name of ['web', 'db']) await assertOneLife(system, name);
});
