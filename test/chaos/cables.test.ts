import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ManagedProcess } from '../cluster/managed-process.ts';
import { createNetwork, type Place } from '../cluster/network.ts';
import { beginRun, endRun, type Run } from '../cluster/run-registry.ts';
import { until } from '../cluster/waiting.ts';
import { Cables } from './cables.ts';
import { canCutCables } from './can-cut.ts';

/** Two nodes without anything on them but a server each, and one beside the bridge. */
describe.skipIf(!(await canCutCables(console.log)))('a cut cable', () => {
  let run: Run;
  let cables: Cables;
  let places: Record<'node-a' | 'node-b' | 'control', Place>;

  beforeAll(async () => {
    run = beginRun();
    const network = await createNetwork(run, 'namespaces', () => {});
    places = {
      'node-a': await network.addNode('node-a'),
      'node-b': await network.addNode('node-b'),
      control: network.control,
    };
    const nodes = new Map(Object.entries(places).filter(([name]) => name !== 'control'));
    const server = `https://${places.control.address}:6443`;
    cables = new Cables({ directory: run.directory, server, nodes });
    await cables.ready();
    mkdirSync(join(run.directory, 'logs'));
    for (const [name, { address, netns }] of Object.entries(places)) serve(name, address, netns);
    await untilAllReached();
  });
  afterAll(() => {
    cables?.[Symbol.dispose]();
    if (run !== undefined) endRun(run);
  });

  type Name = keyof typeof places;
  const pairs: [Name, Name][] = [
    ['node-a', 'node-b'],
    ['node-b', 'node-a'],
    ['node-a', 'control'],
    ['node-b', 'control'],
  ];

  function serve(name: string, address: string, netns: string | undefined): void {
    const script = `require('node:net').createServer((socket) => socket.end('here')).listen(7000, '${address}')`;
    const logFile = join(run.directory, 'logs', name);
    const spec = { name, command: process.execPath, args: ['-e', script], env: {}, cwd: run.directory, logFile, netns };
    new ManagedProcess(spec);
  }

  async function reaches([from, to]: [Name, Name]): Promise<boolean> {
    const { address } = places[to];
    const script = `const socket = require('node:net').connect({ host: '${address}', port: 7000 });
      socket.setTimeout(1000, () => process.exit(1)); socket.on('error', () => process.exit(1)); socket.on('data', () => process.exit(0))`;
    const inNamespace = ['nsenter', `--net=/run/netns/${places[from].netns}`, process.execPath, '-e', script];
    return await promisify(execFile)('env', inNamespace).then(
      () => true,
      () => false,
    );
  }

  /** And nothing of what was refused before is on its way any more. */
  async function untilAllReached(): Promise<void> {
    await until('all reach all', 30_000, async () => {
      const isReached = (await Promise.all(pairs.map(reaches))).every(Boolean);
      const isWaiting = (await halfOpen('node-a')) || (await halfOpen('control'));
      return (isReached && !isWaiting) || undefined;
    });
  }

  /** Whether somebody's first packet has arrived there whose answer did not come back. */
  async function halfOpen(name: Name): Promise<boolean> {
    const listing = ['netns', 'exec', places[name].netns ?? '', 'ss', '-H', '-tan', 'state', 'syn-recv'];
    return (await promisify(execFile)('ip', listing)).stdout.trim() !== '';
  }

  test.each(['cut-both', 'black-hole', 'cut-in', 'cut-out'] as const)(
    '%s: nobody reaches node-a, and all do again',
    async (kind) => {
      const mend = await cables.cutNode('node-a', kind);
      expect(await Promise.all(pairs.map(reaches))).toEqual([false, false, false, true]);
      expect(await halfOpen('node-a')).toBe(kind === 'cut-out');
      await mend();
      await untilAllReached();
    },
  );

  test.each(['black-hole', 'cut-in', 'cut-out'] as const)(
    '%s of the API server: only nodes reach each other',
    async (kind) => {
      const mend = await cables.cutApiServer(kind);
      expect(await Promise.all(pairs.map(reaches))).toEqual([true, true, false, false]);
      expect(await halfOpen('control')).toBe(kind === 'cut-out');
      await mend();
      await untilAllReached();
    },
  );
});
