import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { assertUnbroken, readHeartbeats } from '../guest/heartbeat.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { podsRemembered, qemusBelow } from './leftovers.ts';
import { System } from './system.ts';

let system: System;
let recorder: HeartbeatRecorder;
beforeAll(async () => {
  system = await System.start();
  recorder = await system.startVirtualMachine('web', { totalMiB: 64, hotMiB: 4, dirtyMiBPerSecond: 2 });
});
afterAll(() => system?.[Symbol.asyncDispose]());

/** One pod, one QEMU, one unbroken life, whatever was restarted; and the next migration works. */
afterEach(async () => {
  const vm = await system.reached('web', 'Running');
  await system.until('only the owner is left', async () => {
    const pods = (await system.pods()).map(({ metadata }) => metadata.uid);
    const left = [...pods, ...(await podsRemembered(system.cluster))];
    return left.every((uid) => uid === vm.status?.placement?.podUID) ? true : undefined;
  });
  expect(await qemusBelow(system.cluster.directory)).toBe(1);
  await recorder.waitFor(/(?:T[0-9A-F]{8}\n[^T]*){2}/, AbortSignal.timeout(30_000));
  assertUnbroken(readHeartbeats(recorder.output));
});

function node(name: string | undefined) {
  const found = system.cluster.nodes.get(name ?? '');
  if (found?.agent === undefined) throw new Error(`no agent runs on ${name}`);
  return { ...found, agent: found.agent };
}

function controller() {
  const { controller: running } = system.cluster;
  if (running === undefined) throw new Error('no controller runs');
  return running;
}

let migrations = 0;
let name: string;
let source: ReturnType<typeof node>;
let target: ReturnType<typeof node>;

describe('while bytes flow', () => {
  beforeEach(async () => {
    name = `web-${++migrations}`;
    await system.migrate(name, 'web', { transfer: { maxBandwidth: '10Mi' } });
    await system.bytesFlow(name);
    const { status } = await system.migration(name);
    source = node(status?.sourceNode);
    target = node(status?.targetNode);
  });

  async function succeeds(): Promise<void> {
    const { status } = await system.finished(name);
    expect(status, status?.message).toMatchObject({ phase: 'Succeeded', targetNode: target.name });
    expect(readHeartbeats(recorder.output).moves).toHaveLength(migrations);
  }

  const restarts: [who: string, restart: () => Promise<unknown>][] = [
    ["the source's agent", () => source.agent.restart()],
    ["the target's agent", () => target.agent.restart()],
    [
      'both agents and the controller',
      () => Promise.all([source.agent, target.agent, controller()].map((process) => process.restart())),
    ],
    ["the target's localnode", () => target.localnode.restart()],
    ["the source's localnode", () => source.localnode.restart()],
    ['the API server', () => system.cluster.restartApiServer()],
  ];

  test.each(restarts)('killed and started again: %s; the migration succeeds', async (_who, restart) => {
    await restart();
    await system.speedUp(name);
    await succeeds();
  });

  test("the source's agent is away at the switchover: the guest waits for it, and moves", async () => {
    await source.agent.kill();
    const { status } = await system.migration(name);
    await using qmp = await system.monitor(source, status?.sourcePod?.uid);
    await system.until('QEMU waits at the switchover', async () => {
      const { status: now } = await qmp.execute('query-migrate');
      return now === 'pre-switchover' ? true : undefined;
    });
    await source.agent.restart();
    await succeeds();
  });

  test("the target's agent is away at the switchover: the guest waits for it, and moves", async () => {
    await target.agent.kill();
    await system.speedUp(name);
    await system.until('the source has sent everything', async () =>
      (await system.migration(name)).status?.phase === 'SwitchingOver' ? true : undefined,
    );
    await target.agent.restart();
    await succeeds();
  });

  test('the controller is killed: the guest moves without it, and it notes that when it is back', async () => {
    await controller().kill();
    await system.speedUp(name);
    await system.until('the target has taken over', async () =>
      (await system.migration(name)).status?.target?.verdict === 'TookOver' ? true : undefined,
    );
    await controller().restart();
    await succeeds();
  });
});

describe('while nothing is to be done', () => {
  test('the agents are killed and started again: the VM stays, is told of, and moves', async () => {
    const before = await system.virtualMachine('web');
    await Promise.all(agents().map((process) => process.restart()));
    await system.change('web', { powerState: 'Paused' });
    const { status } = await system.reached('web', 'Paused');
    expect(status?.placement).toEqual(before.status?.placement);
    expect(status?.hardware).toEqual(before.status?.hardware);
    await system.change('web', { powerState: 'Running' });
    await system.reached('web', 'Running');
    await system.migrate('next', 'web');
    expect((await system.finished('next')).status?.phase).toBe('Succeeded');
  });

  test('what was wished for while nobody was there is done when agents and controller are back', async () => {
    const away = [controller(), ...agents()];
    await Promise.all(away.map((process) => process.kill()));
    await system.change('web', { powerState: 'Paused' });
    await system.migrate('later', 'web');
    await Promise.all(away.map((process) => process.restart()));
    expect((await system.finished('later')).status?.phase).toBe('Succeeded');
    await system.reached('web', 'Paused');
    await system.change('web', { powerState: 'Running' });
  });

  function agents() {
    return [...system.cluster.nodes.keys()].map((key) => node(key).agent);
  }
});
