import { readdir, readlink } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { assertUnbroken, readHeartbeats } from '../guest/heartbeat.ts';
import { qemusBelow } from './leftovers.ts';
import { System } from './system.ts';

const trips = 50;

/** Everything a migration could leave behind, counted. */
async function census(system: System) {
  const { controller, nodes } = system.cluster;
  const files = await Promise.all(
    [...nodes.values()].map(
      async ({ root }) =>
        (await readdir(root, { recursive: true }).catch(() => [])).filter((name) => !name.includes('log')).length,
    ),
  );
  const pids = [...nodes.values()]
    .flatMap(({ agent, localnode }) => [agent?.pid, localnode.pid])
    .concat(controller?.pid);
  const openSockets = await Promise.all(pids.map(async (pid) => (pid === undefined ? 0 : await sockets(pid))));
  return {
    pods: (await system.pods()).length,
    qemus: await qemusBelow(system.cluster.directory),
    files: files.reduce((sum, count) => sum + count, 0),
    sockets: openSockets.reduce((sum, count) => sum + count, 0),
  };
}

async function sockets(pid: number): Promise<number> {
  const folder = `/proc/${pid}/fd`;
  const targets = await Promise.all((await readdir(folder)).map((fd) => readlink(`${folder}/${fd}`).catch(() => '')));
  return targets.filter((target) => target.startsWith('socket:')).length;
}

describe('to and fro', () => {
  let system: System;
  beforeAll(async () => {
    system = await System.start();
  });
  afterAll(() => system?.[Symbol.asyncDispose]());

  test(`after ${trips} migrations the guest's memory is intact and nothing is left behind`, {
    timeout: 600_000,
  }, async () => {
    const recorder = await system.startVirtualMachine('web', { totalMiB: 32, hotMiB: 4, dirtyMiBPerSecond: 10 });
    const trip = async (number: number) => {
      await system.migrate(`web-${number}`, 'web');
      const { status } = await system.finished(`web-${number}`);
      expect(status, `migration ${number}: ${status?.message}`).toMatchObject({ phase: 'Succeeded' });
    };
    // The first two open connections and fill caches that stay.
    await trip(1);
    await trip(2);
    const first = await census(system);
    for (let number = 3; number <= trips; number++) await trip(number);
    const { sockets: openBefore, ...before } = first;
    const settled = await system
      .until('nothing more is left than before', async () => {
        const { sockets: open, ...now } = await census(system);
        return isDeepStrictEqual(now, before) && open <= openBefore ? true : undefined;
      })
      .catch(() => false);
    if (!settled) expect(await census(system)).toEqual(first);

    const report = readHeartbeats(recorder.output);
    assertUnbroken(report);
    expect(report.moves).toHaveLength(trips);
    expect(report.passes).toBeGreaterThan(0);
  });
});
