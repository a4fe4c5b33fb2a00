/** `kubectl drain`: the node is empty at its end, and every guest lives on where the scheduler put it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { labels } from '../../src/api/labels.ts';
import type { VirtualMachineMigration } from '../../src/api/objects.ts';
import { assertUnbroken, readHeartbeats } from '../guest/heartbeat.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { System } from './system.ts';

const names = ['web-1', 'web-2', 'web-3'];
/** All VMs begin here. */
const drained = 'node-a';

let system: System;
const recorders = new Map<string, HeartbeatRecorder>();

beforeAll(async () => {
  system = await System.start({ nodes: ['node-a', 'node-b', 'node-c'], webhook: true });
  await system.cluster.kubectl('cordon', 'node-b', 'node-c');
  for (const name of names) recorders.set(name, await system.startVirtualMachine(name));
  await system.cluster.kubectl('uncordon', 'node-b', 'node-c');
});
afterAll(() => system?.[Symbol.asyncDispose]());

async function drain(...options: string[]): Promise<string> {
  const said = await system.cluster.kubectl('drain', drained, '--delete-emptydir-data', '--timeout=60s', ...options);
  return said;
}

async function migrations(): Promise<VirtualMachineMigration[]> {
  return JSON.parse(await system.cluster.kubectl('get', 'vmm', '-o', 'json')).items;
}

test('a drain moves every VM away, and no guest notices', async () => {
  const begun = performance.now();
  await drain();
  console.info(`kubectl drain of ${names.length} VMs: ${Math.round(performance.now() - begun)} ms`);
  const left = (await system.pods()).filter(({ spec }) => spec.nodeName === drained);
  expect(left).toEqual([]);
  for (const name of names) {
    const { status } = await system.reached(name, 'Running', 2);
    expect(['node-b', 'node-c']).toContain(status?.placement?.nodeName);
    await recorders.get(name)?.waitFor(/(?:T[0-9A-F]{8}\n[^T]*){2}/, AbortSignal.timeout(30_000));
    const report = readHeartbeats(recorders.get(name)?.output ?? []);
    assertUnbroken(report);
    expect(report.moves).toHaveLength(1);
    console.info(`${name}: ${Math.round(report.moves[0]?.gapMilliseconds ?? 0)} ms between two heartbeats`);
  }
  const made = await migrations();
  expect(made.map(({ spec, status }) => [spec.virtualMachineName, status?.phase]).toSorted()).toEqual(
    names.map((name) => [name, 'Succeeded']),
  );
  for (const { metadata } of made) expect(metadata.labels?.[labels.evictedPod]).toBeDefined();
});
