import { chownSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { QmpConnection } from '../../qmp/connection.ts';
import { ended, listening, Node, podUID } from '../started-qemu.test-support.ts';
import { RunVolume } from './run-volume.ts';

const otherUID = '7c9e6679-7425-40de-944b-e07fc1f90ae7';

test('a QEMU is found by its run volume, and told apart from another pod’s', async () => {
  await using node = new Node();
  await using registry = await node.registry();
  const qemu = registry.get(podUID);
  expect([await qemu.presence(), qemu.wasSeen]).toEqual(['absent', false]);
  const child = node.start();
  await expect.poll(() => qemu.presence()).toBe('present');
  expect(qemu.wasSeen).toBe(true);
  expect(await registry.get(otherUID).presence()).toBe('absent');
  expect(await qemu.argv()).toEqual(child.spawnargs);
});

test.each([
  ['its node has told it', { POD_IP: '10.0.0.7' }, '10.0.0.7'],
  ['nobody has', {}, undefined],
  ['it is none', { POD_IP: 'node-a' }, undefined],
])('the address of its pod, when %s', async (_scenario, env, address) => {
  await using node = new Node();
  await using registry = await node.registry();
  expect(await registry.get(podUID).podAddress()).toBeUndefined();
  node.start({ env });
  await listening(registry.get(podUID));
  expect(await registry.get(podUID).podAddress()).toBe(address);
});

test('a QEMU that ended is gone, also for an agent that was restarted meanwhile', async () => {
  await using node = new Node();
  const child = node.start();
  {
    await using before = await node.registry();
    await expect.poll(() => before.get(podUID).presence()).toBe('present');
  }
  await ended(child, 'SIGKILL');
  rmSync(node.runFolder(), { recursive: true });
  await using after = await node.registry();
  const qemu = after.get(podUID);
  expect([await qemu.presence(), qemu.wasSeen]).toEqual(['absent', true]);
  await expect(qemu.monitor()).rejects.toMatchObject({ code: 'QmpConnectFailed', errno: 'ENOENT' });
});

test('a restarted agent finds the same process again', async () => {
  await using node = new Node();
  node.start();
  {
    await using before = await node.registry();
    await listening(before.get(podUID));
  }
  await using after = await node.registry();
  const monitor = await after.get(podUID).monitor();
  expect((await monitor.execute('query-status')).status).toBe('running');
});

test('all share one connection, and its end is told', async () => {
  await using node = new Node();
  await using registry = await node.registry();
  node.start();
  const qemu = registry.get(podUID);
  await listening(qemu);
  const [one, other] = await Promise.all([qemu.monitor(), qemu.monitor()]);
  expect(one).toBe(other);
  const changed = Promise.withResolvers<void>();
  qemu.onChange(changed.resolve);
  await one[Symbol.asyncDispose]();
  await changed.promise;
  const again = await qemu.monitor();
  expect(again).not.toBe(one);
  expect((await again.execute('query-status')).running).toBe(true);
});

test('events come from whichever connection is open', async () => {
  await using node = new Node();
  await using registry = await node.registry();
  node.start();
  const qemu = registry.get(podUID);
  const names: string[] = [];
  qemu.onEvent(({ name }) => names.push(name));
  await listening(qemu);
  await (await qemu.monitor()).execute('stop');
  await (await qemu.monitor())[Symbol.asyncDispose]();
  await (await qemu.monitor()).execute('cont');
  expect(names).toEqual(['STOP', 'RESUME']);
});

test('with somebody else on the first monitor the second one serves', async () => {
  await using node = new Node();
  await using registry = await node.registry();
  node.start();
  const qemu = registry.get(podUID);
  await listening(qemu);
  await (await qemu.monitor())[Symbol.asyncDispose]();
  using volume = RunVolume.open(node.podsDirectory, podUID);
  using socket = volume.socket('qmp');
  await using _guestTool = await QmpConnection.open(socket.path);
  expect((await (await qemu.monitor()).execute('query-status')).running).toBe(true);
});

test('a socket replaced by a link is refused, and QEMU is still present', async () => {
  await using node = new Node();
  await using registry = await node.registry();
  node.start();
  node.start({ uid: otherUID });
  await listening(registry.get(podUID));
  await (await registry.get(podUID).monitor())[Symbol.asyncDispose]();
  await listening(registry.get(otherUID));
  rmSync(join(node.runFolder(), 'qmp'));
  symlinkSync(join(node.runFolder(otherUID), 'qmp2'), join(node.runFolder(), 'qmp'));
  await expect(registry.get(podUID).monitor()).rejects.toMatchObject({ code: 'QmpConnectFailed', errno: 'EACCES' });
  expect(await registry.get(podUID).presence()).toBe('present');
});

test.skipIf(process.geteuid?.() !== 0)('a socket that another user has put there is refused', async () => {
  await using node = new Node();
  await using registry = await node.registry();
  node.start();
  const qemu = registry.get(podUID);
  await listening(qemu);
  await (await qemu.monitor())[Symbol.asyncDispose]();
  chownSync(join(node.runFolder(), 'qmp'), 1, 1);
  await expect(qemu.monitor()).rejects.toMatchObject({ code: 'QmpConnectFailed', errno: 'EACCES' });
});

test('killed, it is gone when the call returns, even if it was stopped', async () => {
  await using node = new Node();
  await using registry = await node.registry();
  const child = node.start();
  const qemu = registry.get(podUID);
  await expect.poll(() => qemu.presence()).toBe('present');
  child.kill('SIGSTOP');
  await qemu.kill();
  expect(await qemu.presence()).toBe('absent');
  await ended(child);
  expect(child.signalCode).toBe('SIGKILL');
});

test('a QEMU that is asked something while it shuts down ends all the same', async () => {
  await using node = new Node();
  await using registry = await node.registry();
  // QEMU 7.2 gets stuck in some of these.
  for (let round = 0; round < 16; round++) {
    const child = node.start();
    const qemu = registry.get(podUID);
    await listening(qemu);
    const monitor = await qemu.monitor();
    const asking = (async () => {
      while (monitor.isOpen) await monitor.execute('query-status').catch(() => undefined);
    })();
    await ended(child, 'SIGTERM');
    expect(child.exitCode).toBe(0);
    await asking;
    await registry.release(podUID);
  }
});

test('the end of a QEMU is told without anybody asking', async () => {
  await using node = new Node();
  await using registry = await node.registry();
  const child = node.start();
  const qemu = registry.get(podUID);
  await expect.poll(() => qemu.presence()).toBe('present');
  const changed = Promise.withResolvers<void>();
  qemu.onChange(changed.resolve);
  child.kill('SIGKILL');
  await changed.promise;
  expect(await qemu.presence()).toBe('absent');
});

test('released, QEMU runs on and takes its next client', async () => {
  await using node = new Node();
  await using registry = await node.registry();
  node.start();
  await listening(registry.get(podUID));
  const first = await registry.get(podUID).monitor();
  await registry.release(podUID);
  expect(first.isOpen).toBe(false);
  expect((await (await registry.get(podUID).monitor()).execute('query-status')).running).toBe(true);
});
