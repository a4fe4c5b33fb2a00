import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readHeartbeats } from '../guest/heartbeat.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { assertOneLife } from './one-life.ts';
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
  await assertOneLife(system, 'web', recorder);
});

let migrations = 0;
let name: string;
let source: ReturnType<System['node']>;
let target: ReturnType<System['node']>;

describe('while bytes flow', () => {
  beforeEach(async () => {
    name = `web-${++migrations}`;
    await system.migrate(name, 'web', { transfer: { maxBandwidth: '10Mi' } });
    await system.bytesFlow(name);
    const { status } = await system.migration(name);
    source = system.node(status?.sourceNode);
    target = system.node(status?.targetNode);
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
      () => Promise.all([source.agent, target.agent, system.controller].map((process) => process.restart())),
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
    await system.controller.kill();
    await system.speedUp(name);
    await system.until('the target has taken over', async () =>
      (await system.migration(name)).status?.target?.verdict === 'TookOver' ? true : undefined,
    );
    await system.controller.restart();
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
    const away = [system.controller, ...agents()];
    await Promise.all(away.map((process) => process.kill()));
    await system.change('web', { powerState: 'Paused' });
    await system.migrate('later', 'web');
    await Promise.all(away.map((process) => process.restart()));
    expect((await system.finished('later')).status?.phase).toBe('Succeeded');
    await system.reached('web', 'Paused');
    await system.change('web', { powerState: 'Running' });
  });

  function agents() {
    return [...system.cluster.nodes.keys()].map((key) => system.node(key).agent);
  }
});
