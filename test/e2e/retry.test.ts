/** A failed attempt is followed by another one elsewhere where that may help, also while the first has yet to be seen gone. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { assertUnbroken, readHeartbeats } from '../guest/heartbeat.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { assertOneLife } from './one-life.ts';
import { moveSlowly } from './qemu-watch.ts';
import { System } from './system.ts';

let system: System;
let recorder: HeartbeatRecorder;
beforeAll(async () => {
  system = await System.start({ nodes: ['node-a', 'node-b', 'node-c'] });
  recorder = await system.startVirtualMachine('web', { totalMiB: 64, hotMiB: 4, dirtyMiBPerSecond: 2 });
});
afterAll(() => system?.[Symbol.asyncDispose]());

test('the target and its node are lost: the second attempt moves the VM to the third node while the first is owed', async () => {
  await using sides = await moveSlowly(system, 'again', 'web', { backoffLimit: 1 });
  const first = sides.target.pod;
  const node = system.node(first.spec.nodeName);
  await Promise.all([node.localnode.kill(), node.agent.kill()]);
  sides.target.kill();
  await system.until('the second attempt has begun', async () =>
    (await system.migration('again')).status?.attempt === 2 ? true : undefined,
  );
  await system.speedUp('again');
  const { status } = await system.finished('again');
  expect(status, status?.message).toMatchObject({
    phase: 'Succeeded',
    attempt: 2,
    sourceNode: sides.source.pod.spec.nodeName,
  });
  const third = [...system.cluster.nodes.keys()].find(
    (name) => name !== first.spec.nodeName && name !== sides.source.pod.spec.nodeName,
  );
  expect(status?.targetNode).toBe(third);
  expect(status?.attempts).toEqual([
    expect.objectContaining({
      attempt: 1,
      targetNode: first.spec.nodeName,
      result: 'Failed',
      reason: 'TransferFailed',
    }),
  ]);
  expect((await system.pods()).map(({ metadata }) => metadata.uid)).toContain(first.metadata.uid);
  const cleaned = async () =>
    (await system.migration('again')).status?.conditions?.find(({ type }) => type === 'TargetCleaned');
  expect(await cleaned()).toMatchObject({
    status: 'False',
    message: expect.stringContaining(first.metadata.name ?? ''),
  });
  assertUnbroken(readHeartbeats(recorder.output));

  await Promise.all([node.localnode.restart(), node.agent.restart()]);
  await system.until('it is told that nothing is left', async () =>
    (await cleaned())?.status === 'True' ? true : undefined,
  );
  await assertOneLife(system, 'web', recorder);
});

test('what lies with the VM and not with the target is not tried again', async () => {
  const transfer = { maxBandwidth: '5Mi', timeout: '2s' };
  await using sides = await moveSlowly(system, 'in-vain', 'web', { backoffLimit: 3, transfer });
  const { status } = await system.finished('in-vain');
  expect(status, status?.message).toMatchObject({ phase: 'Failed', reason: 'TransferTimedOut', attempt: 1 });
  expect(status?.attempts ?? []).toEqual([]);
  // A QEMU that takes long to answer when it is to give up has its stream cut.
  expect(sides.source.story.filter((word) => word === 'cancelled' || word === 'failed')).toHaveLength(1);
  await assertOneLife(system, 'web', recorder);
});
