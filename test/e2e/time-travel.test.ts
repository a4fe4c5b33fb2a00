/** The newest memory is lost after the handover, or before it: the older copy on the other side is never continued. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { holdBeforeThePlan } from './before-the-plan.ts';
import { assertAnotherLife, startRestartable } from './one-life.ts';
import { moveSlowly, watchSides } from './qemu-watch.ts';
import { ReturnPathProxy } from './return-path-proxy.ts';
import { System } from './system.ts';

let system: System;
beforeAll(async () => {
  system = await System.start();
});
afterAll(() => system?.[Symbol.asyncDispose]());

test('the target is lost after it was continued, with its agent and without an API server: the source stays as it is', async () => {
  const recorder = await startRestartable(system, 'ahead');
  await using sides = await moveSlowly(system, 'ahead-1', 'ahead');
  const { agent } = system.node(sides.target.pod.spec.nodeName);
  await system.cluster.stopApiServer();
  await sides.target.told('RESUME');
  sides.target.kill();
  // Of what it has found out it could tell nobody but the source.
  await agent.restart();
  await system.bringBackApiServer();
  const { status } = await system.finished('ahead-1');
  expect(status, status?.message).toMatchObject({ phase: 'Failed', reason: 'TargetLostAfterHandover' });
  expect(status?.message).toContain('not continued from older memory');
  await assertAnotherLife(system, 'ahead', recorder, sides);
  expect(sides.source.story.slice(sides.source.story.indexOf('completed'))).not.toContain('RESUME');
  await system.cluster.kubectl('delete', 'vm', 'ahead');
});

test('the target is lost a moment after it was continued: the source stays as it is', async () => {
  const recorder = await startRestartable(system, 'brief');
  await using sides = await moveSlowly(system, 'brief-1', 'brief');
  await system.controller.kill('SIGSTOP');
  await sides.target.told('RESUME');
  sides.target.kill();
  await system.controller.kill('SIGCONT');
  const { status } = await system.finished('brief-1');
  // Whether its agent has seen the guest run or only the end of it: both is true.
  if (status?.phase !== 'Succeeded')
    expect(status, status?.message).toMatchObject({ phase: 'Failed', reason: 'TargetLostAfterHandover' });
  await assertAnotherLife(system, 'brief', recorder, sides);
  expect(sides.source.story.slice(sides.source.story.indexOf('completed'))).not.toContain('RESUME');
  await system.cluster.kubectl('delete', 'vm', 'brief');
});

test('the source has run on after a lost last message and is lost then: the complete target is never continued', async () => {
  const recorder = await startRestartable(system, 'behind');
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
  await assertAnotherLife(system, 'behind', recorder, sides);
  expect(target.story).toContain('completed');
  expect(target.story).not.toContain('RESUME');
  await system.cluster.kubectl('delete', 'vm', 'behind');
});
