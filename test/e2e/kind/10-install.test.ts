import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemNamespace } from '../../../src/api/labels.ts';
import { kubectl } from './site.ts';
import { KindSystem } from './system.ts';

let system: KindSystem;
beforeAll(async () => {
  system = await KindSystem.start('install');
});
afterAll(() => system?.[Symbol.asyncDispose]());

/** Names of the product's pods, with how often each was started. */
async function ownPods(): Promise<string[]> {
  const pods = [...(await system.ownPods('controller')), ...(await system.ownPods('agent'))];
  return pods.map(({ metadata, status }) => `${metadata.name} ${status?.containerStatuses?.[0]?.restartCount}`);
}

test('one command installs everything, and the same command again changes nothing', async () => {
  expect(await kubectl(['get', 'vm,vmm', '-A'])).toBe('');
  const before = await ownPods();
  expect(before.length).toBeGreaterThanOrEqual(4);
  await kubectl(['apply', '-k', system.site.kustomization]);
  const workloads = JSON.parse(await kubectl(['-n', systemNamespace, 'get', 'deployment,daemonset', '-o', 'json']));
  for (const { metadata } of workloads.items) expect(metadata.generation).toBe(1);
  expect(await ownPods()).toEqual(before);
});
