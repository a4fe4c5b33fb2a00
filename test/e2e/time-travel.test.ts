/** The newest memory is lost after the handover, or before it: the older copy on the other side is never continued. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { assertNeverBothRunning, readHeartbeats } from '../guest/heartbeat.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { holdBeforeThePlan } from './before-the-plan.ts';
import { assertOneAfterAnother } from './consoles.ts';
import { podsRemembered, qemusBelow } from './leftovers.ts';
import { moveSlowly, type TwoSides, watchSides } from './qemu-watch.ts';
import { ReturnPathProxy } from './return-path-proxy.ts';
import { System } from './system.ts';

let system: System;
beforeAll(async () => {
  system = await System.start();
});
afterAll(() => system?.[Symbol.asyncDispose]());

function start(name: string): Promise<HeartbeatRecorder> {
  return system.startVirtualMachine(
    name,
    { totalMiB: 64, hotMiB: 4, dirtyMiBPerSecond: 2 },
    { restartPolicy: 'OnFailure' },
  );
}

/** The VM has been started anew, from its disks, and is all that is left; then it is removed. */
async function restarted(name: string, recorder: HeartbeatRecorder, { source, target }: TwoSides): Promise<void> {
  const owner = await system.until(`vm/${name} runs in another pod`, async () => {
    const { phase, placement } = (await system.virtualMachine(name)).status ?? {};
    const isNew = ![source, target].some(({ pod }) => pod.metadata.uid === placement?.podUID);
    return phase === 'Running' && isNew ? placement?.podUID : undefined;
  });
  await system.until('only the owner is left', async () => {
    const left = [
      ...(await system.pods()).map(({ metadata }) => metadata.uid),
      ...(await podsRemembered(system.cluster)),
    ];
    return left.every((uid) => uid === owner) ? true : undefined;
  });
  expect(await qemusBelow(system.cluster.directory)).toBe(1);
  await recorder.waitFor(/T[0-9A-F]{8}/, AbortSignal.timeout(30_000));
  assertOneAfterAnother(recorder.output);
  const ofTheMove = [source, target].map(({ pod }) => pod.metadata.name);
  assertNeverBothRunning(recorder.output.filter(({ side }) => ofTheMove.includes(side)));
  const anew = recorder.output.filter(({ side }) => !ofTheMove.includes(side));
  expect(readHeartbeats(anew).first).toBe(1);
  await system.cluster.kubectl('delete', 'vm', name);
}

test('the target is lost after it was continued, with its agent and without an API server: the source stays as it is', async () => {
  const recorder = await start('ahead');
  await using sides = await moveSlowly(system, 'ahead-1', 'ahead');
  const { agent } = system.node(sides.target.pod.spec.nodeName);
  await system.cluster.stopApiServer();
  await sides.target.told('RESUME');
  sides.target.kill();
  // Of what it has found out it could tell nobody but the source.
  await agent.restart();
  await system.cluster.startApiServer();
  const { status } = await system.finished('ahead-1');
  expect(status, status?.message).toMatchObject({ phase: 'Failed', reason: 'TargetLostAfterHandover' });
  expect(status?.message).toContain('not continued from older memory');
  await restarted('ahead', recorder, sides);
  expect(sides.source.story.slice(sides.source.story.indexOf('completed'))).not.toContain('RESUME');
});

test('the target is lost a moment after it was continued: the source stays as it is', async () => {
  const recorder = await start('brief');
  await using sides = await moveSlowly(system, 'brief-1', 'brief');
  await system.controller.kill('SIGSTOP');
  await sides.target.told('RESUME');
  sides.target.kill();
  await system.controller.kill('SIGCONT');
  const { status } = await system.finished('brief-1');
  // Whether its agent has seen the guest run or only the end of it: both is true.
  if (status?.phase !== 'Succeeded')
    expect(status, status?.message).toMatchObject({ phase: 'Failed', reason: 'TargetLostAfterHandover' });
  await restarted('brief', recorder, sides);
  expect(sides.source.story.slice(sides.source.story.indexOf('completed'))).not.toContain('RESUME');
});

test('the source has run on after a lost last message and is lost then: the complete target is never continued', async () => {
  const recorder = await start('behind');
  const held = await holdBeforeThePlan(system, 'behind-1', 'behind', { transfer: { encryption: 'None' } });
  await using proxy = await ReturnPathProxy.to(held.endpoint);
  await held.divert(proxy.endpoint);
  await using sides = await watchSides(system, 'behind-1');
  const { source, target } = sides;
  const { agent } = system.node(source.pod.spec.nodeName);
  await held.letGo();
  await Promise.all([proxy.heldBack, target.told('completed')]);
  // It cannot say how the attempt ends: QEMU alone continues the guest.
  await agent.kill('SIGSTOP');
  proxy.cut();
  await source.told('RESUME');
  await recorder.waitFor(/T[0-9A-F]{8}/, AbortSignal.timeout(30_000), source.pod.metadata.name);
  source.kill();
  await agent.kill('SIGCONT');
  const { status } = await system.finished('behind-1');
  expect(status, status?.message).toMatchObject({ phase: 'Failed', reason: 'SourceLost' });
  await restarted('behind', recorder, sides);
  expect(target.story).toContain('completed');
  expect(target.story).not.toContain('RESUME');
});
