import { afterAll, beforeAll, expect, test } from 'vitest';
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
  const again = await kubectl(['apply', '-k', system.site.kustomization]);
  expect(again.split('\n').filter((line) => line !== '' && !line.endsWith(' unchanged'))).toEqual([]);
});
