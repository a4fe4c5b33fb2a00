/** `kubectl drain`: the node is empty at its end, and every guest lives on where the scheduler put it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { labels } from '../../src/api/labels.ts';
import type { VirtualMachineMigration } from '../../src/api/objects.ts';
import { type Pod, type PodDisruptionBudget, podDisruptionBudgets } from '../../src/kube/core-resources.ts';
import { Informer } from '../../src/kube/informer.ts';
import { evict } from '../cluster/evict.ts';
import { assertUnbroken, type HeartbeatReport, readHeartbeats } from '../guest/heartbeat.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { pretendNode } from '../integration/pretend-node.ts';
import { assertOneAfterAnother } from './consoles.ts';
import { apply } from './manifest-files.ts';
import { apiVersion, System } from './system.ts';

const names = ['web-1', 'web-2', 'web-3'];
/** All VMs begin here. */
const drained = 'node-a';

let system: System;
const recorders = new Map<string, HeartbeatRecorder>();
/** The most that any VM's budget has ever allowed, and counted as healthy. */
const budgets = { disruptionsAllowed: 0, currentHealthy: 0 };

interface Budget extends PodDisruptionBudget {
  status?: typeof budgets;
}

beforeAll(async () => {
  system = await System.start({ nodes: ['node-a', 'node-b', 'node-c'], webhook: true });
  await kubectl('cordon', 'node-b', 'node-c');
  for (const name of names) recorders.set(name, await system.startVirtualMachine(name));
  await kubectl('uncordon', 'node-b', 'node-c');
});
afterAll(() => system?.[Symbol.asyncDispose]());

function kubectl(...args: string[]): Promise<string> {
  return system.cluster.kubectl(...args);
}

function drain(node: string, ...options: string[]): Promise<string> {
  return kubectl('drain', node, '--delete-emptydir-data', ...options);
}

async function podsOn(node: string): Promise<Pod[]> {
  return (await system.pods()).filter(({ spec }) => spec.nodeName === node);
}

async function migrations(): Promise<VirtualMachineMigration[]> {
  return JSON.parse(await kubectl('get', 'vmm', '-o', 'json')).items;
}

async function placementOf(name: string): Promise<{ nodeName: string; podName: string; podUID: string }> {
  const { nodeName = '', podName = '', podUID = '' } = (await system.virtualMachine(name)).status?.placement ?? {};
  return { nodeName, podName, podUID };
}

/** Throws unless the guest has lived on from its first heartbeat to now. */
async function livesOn(name: string): Promise<HeartbeatReport> {
  const recorder = recorders.get(name);
  if (recorder === undefined) throw new Error(`nobody listens to ${name}`);
  await recorder.waitFor(/(?:T[0-9A-F]{8}\n[^T]*){2}/, AbortSignal.timeout(30_000));
  const report = readHeartbeats(recorder.output);
  assertUnbroken(report);
  return report;
}

test('a dry run starts nothing', async () => {
  await expect(drain(drained, '--dry-run=server', '--timeout=1s')).rejects.toThrow(
    'This is a dry run and starts nothing',
  );
  expect(await migrations()).toEqual([]);
  expect(await podsOn(drained)).toHaveLength(names.length);
});

test('a drain moves every VM away, and no guest notices', async () => {
  await using watched = new Informer<Budget>(system.client, podDisruptionBudgets);
  watched.onChange((_key, budget) => {
    for (const field of ['disruptionsAllowed', 'currentHealthy'] as const)
      budgets[field] = Math.max(budgets[field], budget?.status?.[field] ?? 0);
  });
  watched.start();
  await watched.synced();
  const begun = performance.now();
  await drain(drained, '--timeout=60s');
  console.info(`kubectl drain of ${names.length} VMs: ${Math.round(performance.now() - begun)} ms`);
  expect(await podsOn(drained)).toEqual([]);
  for (const name of names) {
    const { status } = await system.reached(name, 'Running', 2);
    expect(['node-b', 'node-c']).toContain(status?.placement?.nodeName);
    const { moves } = await livesOn(name);
    expect(moves).toHaveLength(1);
    console.info(`${name}: ${Math.round(moves[0]?.gapMilliseconds ?? 0)} ms between two heartbeats`);
  }
  const made = await migrations();
  expect(made.map(({ spec, status }) => [spec.virtualMachineName, status?.phase]).toSorted()).toEqual(
    names.map((name) => [name, 'Succeeded']),
  );
  for (const { metadata } of made) expect(metadata.labels?.[labels.evictedPod]).toBeDefined();
  // Also while both pods of a move were ready.
  expect(budgets.disruptionsAllowed).toBe(0);
  expect(budgets.currentHealthy).toBeGreaterThan(0);
});

test('neither a cordoned node nor one that is not ready is a target, not even by its name, and no VM starts there', async () => {
  const silent = await pretendNode(system.client, 'node-silent');
  await silent.fallsSilent();
  await system.until('it is tainted', async () =>
    (await kubectl('get', 'node', silent.name, '-o', 'jsonpath={.spec.taints}')).includes('NoSchedule')
      ? true
      : undefined,
  );
  for (const [index, nodeName] of [drained, silent.name].entries()) {
    const moved = names[index] ?? '';
    const target = { nodeName };
    const starting = `starts-on-${nodeName}`;
    await apply(system.cluster, {
      apiVersion,
      kind: 'VirtualMachine',
      metadata: { name: starting },
      spec: { memory: '32Mi', firmware: { bios: {} }, nodeSelector: { 'kubernetes.io/hostname': nodeName } },
    });
    await system.migrate(`to-${nodeName}`, moved, { target });
    const { status } = await system.finished(`to-${nodeName}`);
    expect(status, status?.message).toMatchObject({ phase: 'Failed', reason: 'Unschedulable' });
    const { status: pending } = await system.virtualMachine(starting);
    expect(pending?.phase).toBe('Pending');
    expect(pending?.placement?.nodeName).toBeUndefined();
    await kubectl('delete', 'vm', starting, '--timeout=30s');
    await livesOn(moved);
  }
  await kubectl('delete', 'node', silent.name);
});

test('when its migration has failed, the drain is told why, and later makes another, which succeeds', async () => {
  const [name = ''] = names;
  const { nodeName: from, podName, podUID } = await placementOf(name);
  await kubectl('cordon', 'node-a', 'node-b', 'node-c');
  expect((await evict(system.client, podName)).message).toContain('is made to carry');
  const first = `${name}-evict-${podUID.slice(0, 8)}-1`;
  expect((await system.finished(first)).status).toMatchObject({ phase: 'Failed', reason: 'Unschedulable' });
  const { message } = await evict(system.client, podName);
  expect(message).toContain(`vmm/${first} failed: Unschedulable: `);
  expect(message).toContain(`vm/${name} runs on ${from}.`);
  await kubectl('uncordon', drained);
  await drain(from, '--timeout=60s', `--pod-selector=${labels.virtualMachine}=${name}`);
  const second = await system.migration(`${name}-evict-${podUID.slice(0, 8)}-2`);
  expect(second.status).toMatchObject({ phase: 'Succeeded', targetNode: drained });
  await livesOn(name);
  await kubectl('uncordon', 'node-b', 'node-c');
});

test('the eviction of a target pod cancels its migration', async () => {
  const [, name = ''] = names;
  const { podUID } = await placementOf(name);
  await system.migrate('slow', name, { transfer: { maxBandwidth: '1Mi' } });
  await system.bytesFlow('slow');
  const target = (await system.migration('slow')).status?.targetPod?.name ?? '';
  const dry = await evict(system.client, target, { dryRun: true });
  expect(dry).toMatchObject({ status: 429, message: expect.stringContaining('dry run') });
  expect((await system.migration('slow')).spec.cancel).toBe(false);
  expect((await evict(system.client, target)).message).toContain(
    'vmm/slow, which is cancelled because of this eviction',
  );
  // Refused until its QEMU has ended.
  await system.until('the pod may go', async () => {
    const { status } = await evict(system.client, target);
    if (status === 429) return undefined;
    expect([201, 404]).toContain(status);
    return true;
  });
  expect((await system.finished('slow')).status).toMatchObject({ phase: 'Cancelled' });
  expect((await placementOf(name)).podUID).toBe(podUID);
  await livesOn(name);
});

test('while the controller does not answer, nothing is evicted', async () => {
  const [, , name = ''] = names;
  const { podName, podUID } = await placementOf(name);
  const before = (await migrations()).length;
  await system.controller.kill('SIGSTOP');
  try {
    const asked = performance.now();
    const answer = await evict(system.client, podName);
    console.info(`refused by the budget after ${Math.round(performance.now() - asked)} ms: ${answer.message}`);
    expect(answer).toMatchObject({ status: 429, message: expect.stringContaining('disruption budget') });
  } finally {
    await system.controller.kill('SIGCONT');
  }
  // When it goes on it finds the question, and nobody who waits for the answer.
  await livesOn(name);
  expect(await migrations()).toHaveLength(before);
  expect((await placementOf(name)).podUID).toBe(podUID);
});

test('a VM with evictionPolicy Stop is powered down, and starts on another node', async () => {
  const name = 'stopped';
  const recorder = await system.startVirtualMachine(name, {}, { evictionPolicy: 'Stop' });
  const { nodeName } = await placementOf(name);
  const before = (await migrations()).length;
  await drain(nodeName, '--timeout=60s', `--pod-selector=${labels.virtualMachine}=${name}`);
  expect(recorder.output.map(({ text }) => text).join('')).toMatch(/B\n(?:[TS].*\n)*Q\n/);
  const { status } = await system.reached(name, 'Running', 2);
  expect(status?.placement?.nodeName).not.toBe(nodeName);
  expect(status?.lastEnd).toMatchObject({ podName: `${name}-1`, reason: 'PodDeleted', exitCode: 0 });
  expect(await migrations()).toHaveLength(before);
  assertOneAfterAnother(recorder.output);
});
