import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemNamespace } from '../../../src/api/labels.ts';
import { kubectl } from './site.ts';
import { KindSystem } from './system.ts';

let system: KindSystem;
beforeAll(async () => {
  system = await KindSystem.start('install');
});
afterAll(() => system?.[Symbol.asyncDispose]());

test('one command installs everything, and the same command again changes nothing', async () => {
  for (const component of ['controller', 'agent'] as const) {
    const pods = await system.ownPods(component);
    expect(pods.length).toBeGreaterThanOrEqual(2);
    for (const { status } of pods) expect(status?.containerStatuses).toMatchObject([{ ready: true, restartCount: 0 }]);
  }
  expect(await kubectl(['get', 'vm,vmm', '-A'])).toBe('');
  await kubectl(['apply', '-k', system.site.kustomization]);
  const workloads = JSON.parse(await kubectl(['-n', systemNamespace, 'get', 'deployment,daemonset', '-o', 'json']));
  for (const { metadata } of workloads.items) expect(metadata.generation).toBe(1);
});
