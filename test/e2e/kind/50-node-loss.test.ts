/** A worker ends as in a power cut, as the source and as the target of a migration. No guest ever runs twice. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { isTerminal } from '../../../src/api/phases.ts';
import { freezeAgent, thawAgent } from './on-node.ts';
import { assertNeverTwo, assertOneLife } from './one-life.ts';
import { operatorOf } from './operator.ts';
import { kubectl, readSite } from './site.ts';
import { KindSystem } from './system.ts';

const killable = readSite().nodes !== undefined;
if (!killable)
  console.warn('SKIPPED: what follows when a worker is killed; this cluster’s nodes are not the tests’ to kill');

type Nodes = Readonly<Record<'from' | 'to', string>>;

/** Large enough to be seen on its way. */
const movable = { totalMiB: 64, hotMiB: 2, dirtyMiBPerSecond: 1 };

describe.skipIf(!killable)('a worker is killed', () => {
  let system: KindSystem;
  let killed: string | undefined;
  beforeAll(async () => {
    system = await KindSystem.start('node-loss');
  });
  afterEach(async () => {
    if (killed !== undefined) await system.bringBack(killed);
    killed = undefined;
    await kubectl(['uncordon', '--selector=!node-role.kubernetes.io/control-plane']);
    await system.kubectl('delete', 'vmm,vm', '--all', '--timeout=120s');
  });
  afterAll(() => system?.[Symbol.asyncDispose]());

  async function kill(node: string): Promise<void> {
    killed = node;
    await system.killNode(node);
  }

  async function moveSlowly(vm: string): Promise<Nodes> {
    const nodes = await system.nodesOf(vm);
    await system.migrate(`${vm}-1`, vm, { transfer: { maxBandwidth: '8Mi' } });
    await system.bytesFlow(`${vm}-1`);
    return nodes;
  }

  test('as the target: the guest stays where it is, and the node that is back keeps nothing of it', async () => {
    await system.startVirtualMachine('kept', movable);
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
    await using _operator = operatorOf(system, 'kept');
    await assertOneLife(system, 'kept');
  });

  test('as the source: nothing starts twice, and when its node is back the VM starts from its disks', async () => {
    await system.startVirtualMachine('lost', movable);
    const { from } = await moveSlowly('lost');
    await kill(from);
    await system.until('the controller knows that it cannot know', async () => {
      const { status } = await system.migration('lost-1');
      return status?.phase === 'NeedsAttention' || status?.phase === 'Failed' ? true : undefined;
    });
    expect((await system.virtualMachine('lost')).status?.placement).toMatchObject({ nodeName: from, generation: 1 });
    await system.bringBack(from);
    killed = undefined;
    await using _operator = operatorOf(system, 'lost');
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

  test('as the source, and tainted out of service: the VM comes back where it was to move, without its node', async () => {
    await system.startVirtualMachine('given-up', movable);
    const { from, to } = await moveSlowly('given-up');
    await kill(from);
    await system.takeOutOfService(from);
    const { status } = await system.finished('given-up-1');
    expect(status, status?.message).toMatchObject({ phase: 'Failed', reason: 'SourceLost' });
    expect((await system.reached('given-up', 'Running', 2)).status?.placement?.nodeName).toBe(to);
    await system.goesOn('given-up');
    expect(assertNeverTwo(system.console('given-up'))).toEqual({ lives: 2 });
  });

  test('after it became the VM’s, and tainted out of service: the VM comes back where it came from', async () => {
    await system.startVirtualMachine('moved', movable);
    const { from, to } = await system.nodesOf('moved');
    await system.migrate('moved-1', 'moved');
    expect((await system.finished('moved-1')).status?.phase).toBe('Succeeded');
    await kill(to);
    await system.takeOutOfService(to);
    expect((await system.reached('moved', 'Running', 3)).status?.placement?.nodeName).toBe(from);
    await system.goesOn('moved');
    expect(assertNeverTwo(system.console('moved'))).toEqual({ lives: 2 });
  });

  /** Brings a migration to a phase, and where that is short, keeps it there; @returns what lets it go again. */
  type WayTo = (name: string, nodes: Nodes) => Promise<{ frozen?: string; letGo(): Promise<unknown> }>;

  const waysTo = {
    Scheduling: async (name, { to }) => {
      await kubectl(['cordon', to]);
      await migrate(name);
      return { letGo: () => kubectl(['uncordon', to]) };
    },
    Checking: migrate,
    // The guest was handed over, and waits for the agent that is to continue it.
    SwitchingOver: async (name, { to }) => {
      await moveSlowly(name);
      await freezeAgent(to);
      await system.speedUp(`${name}-1`);
      return { frozen: to, letGo: () => thawAgent(to) };
    },
    RollingBack: async (name, { from }) => {
      await moveSlowly(name);
      await freezeAgent(from);
      await system.cancel(`${name}-1`);
      return { frozen: from, letGo: () => thawAgent(from) };
    },
    Succeeded: migrate,
  } satisfies Record<string, WayTo>;

  async function migrate(name: string) {
    await system.migrate(`${name}-1`, name);
    return { letGo: async () => undefined };
  }

  /** Which node dies, when kubectl shows what, and how many lives the guest then has had: it is lost only where it runs. */
  test.each([
    ['from', 'Scheduling', 2],
    ['to', 'Scheduling', 1],
    ['from', 'Checking', 2],
    ['to', 'Checking', 1],
    ['from', 'SwitchingOver', 1],
    ['to', 'SwitchingOver', 2],
    ['from', 'RollingBack', 2],
    ['to', 'RollingBack', 1],
    ['from', 'Succeeded', 1],
    ['to', 'Succeeded', 2],
  ] as const)('the node it moves %s, at %s: it never runs twice (lives: %i)', async (side, phase, lives) => {
    const name = `${side}-${phase.toLowerCase()}`;
    await system.startVirtualMachine(name, movable);
    const nodes = await system.nodesOf(name);
    const wayTo: WayTo = waysTo[phase];
    const { frozen, letGo } = await wayTo(name, nodes);
    await system.until(`kubectl shows ${phase}`, async () =>
      (await system.migration(`${name}-1`)).status?.phase === phase ? true : undefined,
    );
    await kill(nodes[side]);
    if (frozen !== nodes[side]) await letGo();
    await system.bringBack(nodes[side]);
    killed = undefined;
    await using _operator = operatorOf(system, name);
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
