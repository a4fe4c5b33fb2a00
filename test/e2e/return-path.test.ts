/** The last message of a transfer is lost, or strangers speak to the target. Asserted on both QEMUs. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { type Endpoint, holdBeforeThePlan } from './before-the-plan.ts';
import { assertOneLife } from './one-life.ts';
import { watchSides } from './qemu-watch.ts';
import { ReturnPathProxy } from './return-path-proxy.ts';
import { System } from './system.ts';

let system: System;
let recorder: HeartbeatRecorder;
beforeAll(async () => {
  system = await System.start();
  recorder = await system.startVirtualMachine('web', { totalMiB: 64, hotMiB: 4, dirtyMiBPerSecond: 2 });
});
afterAll(() => system?.[Symbol.asyncDispose]());
afterEach(() => assertOneLife(system, 'web', recorder));

test("the target's last message is lost: the source runs on, and the complete target never runs", async () => {
  const held = await holdBeforeThePlan(system, 'last-word', 'web', { transfer: { encryption: 'None' } });
  await using proxy = await ReturnPathProxy.to(held.endpoint);
  await held.divert(proxy.endpoint);
  await using sides = await watchSides(system, 'last-word');
  const { source, target } = sides;
  await held.letGo();
  await proxy.heldBack;
  await target.told('completed');
  expect(await target.monitor.execute('query-status')).toMatchObject({ status: 'paused' });
  expect(source.story.at(-1)).toBe('device');
  proxy.cut();
  await source.told('RESUME');
  const { status } = await system.finished('last-word');
  expect(status, status?.message).toMatchObject({ phase: 'Failed', reason: 'TransferFailed' });
  expect(status?.message).toContain(`runs on ${source.pod.spec.nodeName}`);
  expect(status?.source?.verdict).toBe('Aborted');
  // The target pod may be seen gone, and the migration end, before its agent has written what it said.
  expect(['Refused', undefined]).toContain(status?.target?.verdict);
  expect(source.story).toContain('failed');
  expect(source.story).not.toContain('completed');
  expect(await source.monitor.execute('query-status')).toMatchObject({ status: 'running' });
  expect(target.story).toContain('completed');
  expect(target.story).not.toContain('RESUME');
  expect(target.monitor.isOpen).toBe(false);
});

/** Connects to the target's port as anybody can who reaches it. */
async function stranger(endpoint: Endpoint, says?: string): Promise<Disposable> {
  const socket = connect(endpoint);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  if (says !== undefined) socket.write(says);
  return { [Symbol.dispose]: () => socket.destroy() };
}

test('a stranger connects to the target and says nothing: the source waits, and moves the guest when he has gone', async () => {
  const held = await holdBeforeThePlan(system, 'stranger', 'web');
  await using sides = await watchSides(system, 'stranger');
  {
    using _silent = await stranger(held.endpoint);
    await held.letGo();
    await system.until('what is waited for is told', async () =>
      (await system.migration('stranger')).status?.message?.includes('its QEMU is silent') ? true : undefined,
    );
    expect(sides.source.story).toEqual([]);
  }
  const { status } = await system.finished('stranger');
  expect(status, status?.message).toMatchObject({ phase: 'Succeeded' });
});

test('a stranger sends something else to the target: he is refused, and the guest moves', async () => {
  const held = await holdBeforeThePlan(system, 'garbage', 'web');
  using _talkative = await stranger(held.endpoint, 'GET / HTTP/1.1\r\nhost: target\r\n\r\n');
  await held.letGo();
  const { status } = await system.finished('garbage');
  expect(status, status?.message).toMatchObject({ phase: 'Succeeded' });
  await system.migrate('after-garbage', 'web');
  expect((await system.finished('after-garbage')).status?.phase).toBe('Succeeded');
});
