import { afterAll, beforeAll, expect, test } from 'vitest';
import { assertOneLife } from './one-life.ts';
import { KindSystem } from './system.ts';

let system: KindSystem;
beforeAll(async () => {
  system = await KindSystem.start('migration');
  await system.startVirtualMachine('web', { totalMiB: 64, hotMiB: 8, dirtyMiBPerSecond: 5 });
});
afterAll(() => system?.[Symbol.asyncDispose]());

test('a VM moves while it runs', async () => {
  const { from, to } = await system.nodesOf('web');
  await system.migrate('plain', 'web');
  const { status } = await system.finished('plain');
  expect(status, status?.message).toMatchObject({ phase: 'Succeeded', sourceNode: from, targetNode: to });
  const { moves } = await assertOneLife(system, 'web');
  expect(moves).toHaveLength(1);
});
