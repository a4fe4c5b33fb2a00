/** Pods of the product itself are deleted while a VM moves: kubectl's user does it, a rollout does it, and a node that is drained. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { assertOneLife } from './one-life.ts';
import { KindSystem } from './system.ts';

let system: KindSystem;
beforeAll(async () => {
  system = await KindSystem.start('restarts');
  await system.startVirtualMachine('web', { totalMiB: 64, hotMiB: 2, dirtyMiBPerSecond: 1 });
});
afterAll(() => system?.[Symbol.asyncDispose]());

/** Bytes flow when it returns, and will for some seconds. */
async function moveSlowly(name: string): Promise<{ from: string; to: string }> {
  const nodes = await system.nodesOf('web');
  await system.migrate(name, 'web', { transfer: { maxBandwidth: '8Mi' } });
  await system.bytesFlow(name);
  return nodes;
}

async function succeeds(name: string): Promise<void> {
  const { status } = await system.finished(name);
  expect(status, status?.message).toMatchObject({ phase: 'Succeeded' });
  const { moves } = await assertOneLife(system, 'web');
  expect(moves.length).toBeGreaterThan(0);
}

test.each([
  ['the agent of the source', 'agent-of-source', 'from'],
  ['the agent of the target', 'agent-of-target', 'to'],
] as const)('%s is deleted in mid-transfer: the transfer goes on without it', async (_who, name, side) => {
  const nodes = await moveSlowly(name);
  const bytes = (await system.migration(name)).status?.transfer?.transferredBytes ?? 0;
  await system.replacePods(await system.ownPods('agent', nodes[side]));
  await system.until('more bytes were sent', async () => {
    const { status } = await system.migration(name);
    expect(status?.phase).toBe('Transferring');
    return (status?.transfer?.transferredBytes ?? 0) > bytes ? true : undefined;
  });
  await system.speedUp(name);
  await succeeds(name);
  expect((await system.migration(name)).status?.attempt).toBe(1);
});

test('the controllers are deleted in mid-transfer: others take over', async () => {
  await moveSlowly('controllers');
  await system.replacePods(await system.ownPods('controller'));
  await system.speedUp('controllers');
  await succeeds('controllers');
});

test('everything is rolled out anew in mid-transfer', async () => {
  await moveSlowly('rollout');
  await system.rollOut();
  await system.speedUp('rollout');
  await succeeds('rollout');
});
