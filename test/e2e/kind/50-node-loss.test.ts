/** A worker ends as in a power cut, as the source and as the target of a migration. No guest ever runs twice. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { isTerminal } from '../../../src/api/phases.ts';
import { assertNeverTwo, assertOneLife } from './one-life.ts';
import { readSite } from './site.ts';
import { KindSystem } from './system.ts';

const killable = readSite().nodes !== undefined;
if (!killable)
  console.warn('SKIPPED: what follows when a worker is killed; this cluster’s nodes are not the tests’ to kill');

describe.skipIf(!killable)('a worker is killed', () => {
  let system: KindSystem;
  let killed: string | undefined;
  beforeAll(async () => {
    system = await KindSystem.start('node-loss');
  });
  afterEach(async () => {
    if (killed !== undefined) await system.bringBack(killed);
    killed = undefined;
    await system.kubectl('delete', 'vmm,vm', '--all', '--timeout=120s');
  });
  afterAll(() => system?.[Symbol.asyncDispose]());

  async function kill(node: string): Promise<void> {
    killed = node;
    await system.killNode(node);
  }

  async function moveSlowly(vm: string): Promise<{ from: string; to: string }> {
    await system.startVirtualMachine(vm, { totalMiB: 64, hotMiB: 2, dirtyMiBPerSecond: 1 });
    const nodes = await system.nodesOf(vm);
    await system.migrate(`${vm}-1`, vm, { transfer: { maxBandwidth: '8Mi' } });
    await system.bytesFlow(`${vm}-1`);
    return nodes;
  }

  test('as the target: the guest stays where it is, and the node that is back keeps nothing of it', async () => {
    const { from, to } = await moveSlowly('kept');
    await kill(to);
    const { status } = await system.until('the migration is given up', async () => {
      const migration = await system.migration('kept-1');
      return ['Failed', 'NeedsAttention'].includes(migration.status?.phase ?? '') ? migration : undefined;
    });
    expect(status, status?.message).toMatchObject({ phase: 'Failed' });
    expect((await system.nodesOf('kept')).from).toBe(from);
    await system.goesOn('kept');
    await system.bringBack(to);
    killed = undefined;
    await assertOneLife(system, 'kept');
  });

  test('as the source: nothing starts twice, and when its node is back the VM starts from its disks', async () => {
    const { from } = await moveSlowly('lost');
    await kill(from);
    await system.until('the controller knows that it cannot know', async () => {
      const { status } = await system.migration('lost-1');
      return status?.phase === 'NeedsAttention' || status?.phase === 'Failed' ? true : undefined;
    });
    expect((await system.virtualMachine('lost')).status?.placement).toMatchObject({ nodeName: from, generation: 1 });
    await system.bringBack(from);
    killed = undefined;
    const { status } = await system.finished('lost-1');
    expect(status, status?.message).toMatchObject({ phase: 'Failed', reason: 'SourceLost' });
    await system.reached('lost', 'Running', 2);
    await system.goesOn('lost');
    expect(assertNeverTwo(system.console('lost'))).toEqual({ lives: 2 });
  });

  test('and tainted out of service: the VM comes back on another, without its node', async () => {
    await system.startVirtualMachine('fenced');
    const { from, to } = await system.nodesOf('fenced');
    await kill(from);
    await system.takeOutOfService(from);
    const { status } = await system.reached('fenced', 'Running', 2);
    expect(status?.placement?.nodeName).toBe(to);
    await system.goesOn('fenced');
    expect(assertNeverTwo(system.console('fenced'))).toEqual({ lives: 2 });
  });

  /** Which node dies, when kubectl shows what, and how many lives the guest then has had: it is lost only where it runs. */
  test.each([
    ['from', 'Checking', 2],
    ['to', 'Checking', 1],
    ['from', 'Succeeded', 1],
    ['to', 'Succeeded', 2],
  ] as const)('the node it moves %s, at %s: it never runs twice (lives: %i)', async (side, phase, lives) => {
    const name = `${side}-${phase.toLowerCase()}`;
    await system.startVirtualMachine(name, { totalMiB: 32 });
    const nodes = await system.nodesOf(name);
    await system.migrate(`${name}-1`, name);
    await system.until(`kubectl shows ${phase}`, async () =>
      (await system.migration(`${name}-1`)).status?.phase === phase ? true : undefined,
    );
    await kill(nodes[side]);
    await system.bringBack(nodes[side]);
    killed = undefined;
    const { status } = await system.finished(`${name}-1`);
    expect(isTerminal(status?.phase), status?.message).toBe(true);
    const { status: vm } = await system.reached(name, 'Running');
    if (lives === 1) {
      const where = status?.phase === 'Succeeded' ? nodes.to : nodes.from;
      expect(vm?.placement?.nodeName).toBe(where);
      expect(status?.message).toContain(`runs on ${where}`);
    }
    await system.until('one pod is left', async () => ((await system.podsOf(name)).length === 1 ? true : undefined));
    await system.goesOn(name);
    expect(assertNeverTwo(system.console(name))).toEqual({ lives });
  });
});
