/** The agent of a node falls silent during a migration: its QEMU may run on, and nothing is touched until somebody says what is true. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { annotations } from '../../src/api/labels.ts';
import type { VirtualMachineMigration } from '../../src/api/objects.ts';
import { assertUnbroken, readHeartbeats } from '../guest/heartbeat.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { qemusBelow } from './leftovers.ts';
import { assertAnotherLife, startRestartable } from './one-life.ts';
import { moveSlowly } from './qemu-watch.ts';
import { System } from './system.ts';

let system: System;
beforeAll(async () => {
  system = await System.start();
});
afterAll(() => system?.[Symbol.asyncDispose]());

/** An agent is silent after 30 s. */
async function needsAttention(name: string): Promise<VirtualMachineMigration> {
  return await system.until(`vmm/${name} asks for attention`, async () => {
    const migration = await system.migration(name);
    return migration.status?.phase === 'NeedsAttention' ? migration : undefined;
  });
}

async function countsOn(recorder: HeartbeatRecorder): Promise<void> {
  await recorder.waitFor(/(?:T[0-9A-F]{8}\n[^T]*){2}/, AbortSignal.timeout(30_000));
  assertUnbroken(readHeartbeats(recorder.output));
}

test("the source's node is silent before the transfer and in it: people are asked, and both go on when it is back", async () => {
  await system.cluster.kubectl('cordon', 'node-b');
  const recorders = [await startRestartable(system, 'sent'), await startRestartable(system, 'checked')];
  await system.cluster.kubectl('uncordon', 'node-b');
  await using sides = await moveSlowly(system, 'sent-1', 'sent', { transfer: { maxBandwidth: '1Mi' } });
  const { nodeName } = sides.source.pod.spec;
  const node = system.node(nodeName);
  await Promise.all([node.localnode.kill(), node.agent.kill()]);
  await system.migrate('checked-1', 'checked');
  const [sent, checked] = await Promise.all([needsAttention('sent-1'), needsAttention('checked-1')]);
  expect(sent.status).toMatchObject({ reason: 'SourceSilent' });
  const { metadata } = sides.source.pod;
  for (const words of [
    `Nobody speaks for ${nodeName}`,
    `taint node ${nodeName}`,
    `${annotations.fenced}=${metadata.uid}`,
  ])
    expect(sent.status?.message).toContain(words);
  expect(checked.status).toMatchObject({ reason: 'SourceSilent' });
  expect(checked.status?.message).toContain(`The agent on ${nodeName} does not answer`);
  expect(checked.status?.plan).toBeUndefined();
  for (const name of ['sent', 'checked'])
    expect((await system.virtualMachine(name)).status?.placement).toMatchObject({ generation: 1, nodeName });
  expect(await qemusBelow(system.cluster.directory)).toBe(4);
  for (const recorder of recorders) await countsOn(recorder);

  await Promise.all([node.localnode.restart(), node.agent.restart()]);
  await system.speedUp('sent-1');
  for (const name of ['sent-1', 'checked-1']) {
    const { status } = await system.finished(name);
    expect(status, status?.message).toMatchObject({ phase: 'Succeeded' });
  }
  for (const recorder of recorders) await countsOn(recorder);
  await system.cluster.kubectl('delete', 'vm', 'sent', 'checked');
});

test('the target is lost with its node before anybody was told that it ran: fenced, the VM starts again from its disks', async () => {
  const recorder = await startRestartable(system, 'told');
  await using sides = await moveSlowly(system, 'told-1', 'told');
  const { source, target } = sides;
  const node = system.node(target.pod.spec.nodeName);
  await system.cluster.stopApiServer();
  await target.told('RESUME');
  await Promise.all([node.localnode.kill(), node.agent.kill()]);
  target.kill();
  await system.bringBackApiServer();
  const { status: asked } = await needsAttention('told-1');
  expect(asked).toMatchObject({ reason: 'TargetSilent' });
  for (const words of [node.name, `${annotations.fenced}=${target.pod.metadata.uid}`])
    expect(asked?.message).toContain(words);
  expect((await system.virtualMachine('told')).status?.placement?.podUID).toBe(source.pod.metadata.uid);

  await system.cluster.kubectl('annotate', 'vm', 'told', `${annotations.fenced}=${target.pod.metadata.uid}`);
  const { status } = await system.finished('told-1');
  expect(status, status?.message).toMatchObject({ phase: 'Failed', reason: 'TargetLostAfterHandover' });
  expect(source.story.slice(source.story.indexOf('completed'))).not.toContain('RESUME');
  await Promise.all([node.localnode.restart(), node.agent.restart()]);
  await assertAnotherLife(system, 'told', recorder, sides);
});
