/** The guest is handed from agent to agent: by the direct way, by the API server, or not at all. */
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { readHeartbeats } from '../guest/heartbeat.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { cutOffFromAgents, whyNothingCanBeCut } from './network-cut.ts';
import { assertOneLife } from './one-life.ts';
import { moveSlowly, type QemuWatch, type TwoSides } from './qemu-watch.ts';
import { System } from './system.ts';

/** Of the guest's pause, what lies between the source's completion and its run at the target; milliseconds. */
const handoverBound = 1_000;

let system: System;
let recorder: HeartbeatRecorder;
beforeAll(async () => {
  system = await System.start();
  recorder = await system.startVirtualMachine('web', { totalMiB: 64, hotMiB: 4, dirtyMiBPerSecond: 2 });
});
afterAll(() => system?.[Symbol.asyncDispose]());

afterEach(async () => {
  // A test that failed in between must not take the others with it.
  if (!system.cluster.controlPlane.apiServer.running) await system.bringBackApiServer();
  await assertOneLife(system, 'web', recorder);
});

/** Both stamps are of this machine's clock. */
async function handoverMilliseconds({ source, target }: TwoSides): Promise<number> {
  const [completed, resumed] = await Promise.all([source.told('completed'), target.told('RESUME')]);
  return resumed - completed;
}

async function succeeded(name: string, { source, target }: TwoSides) {
  const { status } = await system.finished(name);
  expect(status, status?.message).toMatchObject({ phase: 'Succeeded' });
  expect(status?.conditions).toContainEqual(expect.objectContaining({ type: 'SourceCleaned', status: 'True' }));
  expect((await system.virtualMachine('web')).status?.placement?.podUID).toBe(target.pod.metadata.uid);
  expect((await system.pods()).map(({ metadata }) => metadata.uid)).toEqual([target.pod.metadata.uid]);
  expect(source.story).not.toContain('RESUME');
  const move = readHeartbeats(recorder.output).moves.at(-1);
  console.info(`${name}: the guest's own gap was ${move?.gapMilliseconds.toFixed(1)} ms`);
  return status;
}

function agentOf({ pod }: QemuWatch) {
  return system.node(pod.spec.nodeName).agent;
}

/** Waits until no more than this is left to be sent, as far as QEMU knows. */
async function bytesLeft({ monitor }: QemuWatch, bytes: number): Promise<void> {
  await system.until(`${bytes} bytes are left`, async () => {
    const { ram } = await monitor.execute('query-migrate');
    return ram !== undefined && ram.remaining <= bytes ? true : undefined;
  });
}

test('the API server is away from the transfer on: the guest is handed over, and the objects catch up', async () => {
  await using sides = await moveSlowly(system, 'without-api', 'web');
  await system.cluster.stopApiServer();
  const milliseconds = await handoverMilliseconds(sides);
  console.info(`without the API server the target ran ${milliseconds.toFixed(1)} ms after the source had completed`);
  expect(milliseconds).toBeLessThanOrEqual(handoverBound);
  await system.bringBackApiServer();
  expect(await succeeded('without-api', sides)).toMatchObject({ downtimeMilliseconds: expect.any(Number) });
});

test('both agents are killed and come back without an API server: they carry on', async () => {
  await using sides = await moveSlowly(system, 'agents-back', 'web');
  await system.cluster.stopApiServer();
  await Promise.all([agentOf(sides.source), agentOf(sides.target)].map((agent) => agent.restart()));
  const milliseconds = await handoverMilliseconds(sides);
  console.info(`after a restart of both agents it took ${milliseconds.toFixed(1)} ms`);
  expect(milliseconds).toBeLessThanOrEqual(handoverBound);
  await system.bringBackApiServer();
  expect(await succeeded('agents-back', sides)).toMatchObject({ downtimeMilliseconds: expect.any(Number) });
});

test('both agents are killed at the switchover, without an API server: they hand over when they are back', async () => {
  await using sides = await moveSlowly(system, 'agents-late', 'web');
  await system.cluster.stopApiServer();
  // The source commits itself because the target's agent has answered just now.
  await bytesLeft(sides.source, 8 * 1024 * 1024);
  await agentOf(sides.target).kill();
  await sides.source.told('completed');
  await agentOf(sides.source).kill();
  await Promise.all([agentOf(sides.source), agentOf(sides.target)].map((agent) => agent.restart()));
  await sides.target.told('RESUME');
  await system.bringBackApiServer();
  // No downtime: nobody has seen the guest stop.
  await succeeded('agents-late', sides);
});

test('the agents do not reach each other: the target is told by the API server', async (context) => {
  const obstacle = await whyNothingCanBeCut(system);
  if (obstacle !== undefined) return context.skip(obstacle);
  await using sides = await moveSlowly(system, 'by-the-object', 'web');
  await using _cut = await cutOffFromAgents(system, sides.target.pod.spec.nodeName);
  const milliseconds = await handoverMilliseconds(sides);
  console.info(`by the API server it took ${milliseconds.toFixed(1)} ms`);
  expect(milliseconds).toBeLessThanOrEqual(handoverBound);
  expect(await succeeded('by-the-object', sides)).toMatchObject({ downtimeMilliseconds: expect.any(Number) });
});

test('neither way is there at the switchover: the guest runs on where it is', async (context) => {
  const obstacle = await whyNothingCanBeCut(system);
  if (obstacle !== undefined) return context.skip(obstacle);
  await using sides = await moveSlowly(system, 'no-way', 'web');
  {
    await using _cut = await cutOffFromAgents(system, sides.target.pod.spec.nodeName);
    await system.cluster.stopApiServer();
    const [waited, resumed] = [await sides.source.told('pre-switchover'), await sides.source.told('RESUME')];
    console.info(`with no way left the guest ran on ${(resumed - waited).toFixed(1)} ms after it had stopped`);
    expect(resumed - waited).toBeLessThanOrEqual(handoverBound);
    await system.bringBackApiServer();
  }
  const { status } = await system.finished('no-way');
  expect(status, status?.message).toMatchObject({ phase: 'Failed', reason: 'HandoverPathLost' });
  expect(status?.message).toContain(`runs on ${sides.source.pod.spec.nodeName}`);
  expect((await system.virtualMachine('web')).status?.placement?.podUID).toBe(sides.source.pod.metadata.uid);
  expect(sides.source.story).toContain('cancelled');
  expect(sides.target.story).not.toContain('RESUME');
});
