/** A target that accepts the stream's connection and says nothing freezes the source's QEMU, and with it the guest, until it is ended. */
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ManagedProcess } from '../cluster/managed-process.ts';
import { readHeartbeats } from '../guest/heartbeat.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { type Endpoint, holdBeforeThePlan } from './before-the-plan.ts';
import { runVolume } from './consoles.ts';
import { assertOneLife } from './one-life.ts';
import { watchSides } from './qemu-watch.ts';
import { System } from './system.ts';

/** The longest that the guest may stand still for a target that says nothing, in milliseconds. */
const gapBound = 1_500;

let system: System;
let recorder: HeartbeatRecorder;
/** How much of the console was recorded when the test began. */
let begun: number;
beforeAll(async () => {
  system = await System.start();
  recorder = await system.startVirtualMachine('web', { totalMiB: 64, hotMiB: 4, dirtyMiBPerSecond: 2 });
});
afterAll(() => system?.[Symbol.asyncDispose]());
afterEach(() => assertOneLife(system, 'web', recorder));

function guestGap(): number {
  return readHeartbeats(recorder.output.slice(begun)).longestGapMilliseconds;
}

/** Takes a target's place: a process of its pod, which accepts connections and says nothing. */
async function silentListener(migration: string, { host }: Endpoint): Promise<ManagedProcess & { endpoint: Endpoint }> {
  const { status } = await system.migration(migration);
  const pod = (await system.pods()).find(({ metadata }) => metadata.uid === status?.targetPod?.uid);
  const folder = pod && runVolume(system.cluster, pod);
  if (folder === undefined) throw new Error(`vmm/${migration} has no target pod`);
  const command = join(system.cluster.directory, 'qemu-system-silent');
  await copyFile(process.execPath, command);
  const script =
    "const server = require('node:net').createServer(() => {});" +
    'server.listen(0, process.argv[1], () => console.log(server.address().port));';
  const listener = new ManagedProcess({
    name: 'silent-listener',
    command,
    args: ['-e', script, host],
    env: {},
    cwd: folder,
    logFile: join(system.cluster.directory, 'logs', 'silent-listener.log'),
    netns: system.node(status?.targetNode).netns,
  });
  const port = await system.until('it listens', () => {
    listener.assertRunning();
    return Number(listener.logTail(1)) || undefined;
  });
  return Object.assign(listener, { endpoint: { host, port } });
}

test('a target that is silent before the source begins is not begun with, and waited for', async () => {
  begun = recorder.output.length;
  const held = await holdBeforeThePlan(system, 'asleep', 'web');
  await using sides = await watchSides(system, 'asleep');
  sides.target.kill('SIGSTOP');
  await held.letGo();
  await system.until('what is waited for is told', async () => {
    const { phase, message } = (await system.migration('asleep')).status ?? {};
    return phase === 'Transferring' && message?.includes('its QEMU is silent') ? true : undefined;
  });
  expect(sides.source.story).toEqual([]);
  sides.target.kill('SIGCONT');
  const { status } = await system.finished('asleep');
  expect(status, status?.message).toMatchObject({ phase: 'Succeeded' });
  expect(guestGap()).toBeLessThanOrEqual(gapBound);
});

test('a target that falls silent when the source connects is ended, and the guest runs on', async () => {
  begun = recorder.output.length;
  const held = await holdBeforeThePlan(system, 'mute', 'web');
  const listener = await silentListener('mute', held.endpoint);
  await held.divert(listener.endpoint);
  await using sides = await watchSides(system, 'mute');
  await held.letGo();
  const { status } = await system.finished('mute');
  expect(status, status?.message).toMatchObject({ phase: 'Failed', reason: 'TargetNotAnswering' });
  expect(status?.message).toContain(`runs on ${sides.source.pod.spec.nodeName}`);
  expect(sides.source.story).toContain('failed');
  expect(listener.running).toBe(false);
  console.info(`a silent target stopped the guest for ${guestGap().toFixed(0)} ms`);
  // The silence was met: without it the guest would hardly have noticed.
  expect(guestGap()).toBeGreaterThan(500);
  expect(guestGap()).toBeLessThanOrEqual(gapBound);
});
