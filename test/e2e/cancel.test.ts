/** A cancel that meets the end of the transfer: the guest stays, or it has moved and the cancel is rejected. Never anything else. */
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type VirtualMachineMigration, virtualMachineMigrations } from '../../src/api/objects.ts';
import { isTerminal } from '../../src/api/phases.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { assertOneLife } from './one-life.ts';
import { moveSlowly, type TwoSides } from './qemu-watch.ts';
import { System } from './system.ts';

/** From the wish to a QEMU that sends no more, while bytes flow; generous for a busy machine. Milliseconds. */
const cancelBound = 3_000;
/** Two seconds of transfer. */
const transfer = { maxBandwidth: '32Mi', maxDowntime: '100ms' };

let system: System;
let recorder: HeartbeatRecorder;
beforeAll(async () => {
  system = await System.start();
  recorder = await system.startVirtualMachine('web', { totalMiB: 64, hotMiB: 1, dirtyMiBPerSecond: 1 });
});
afterAll(() => system?.[Symbol.asyncDispose]());
afterEach(() => assertOneLife(system, 'web', recorder));

/** @returns the object as the wish found it. */
async function cancel(name: string): Promise<VirtualMachineMigration> {
  const reference = { namespace: 'default', name };
  return await system.client.mergePatch(virtualMachineMigrations, reference, { spec: { cancel: true } });
}

test('while bytes flow it takes effect at once', async () => {
  const measured: number[] = [];
  for (const name of ['stop-1', 'stop-2', 'stop-3']) {
    await using sides = await moveSlowly(system, name, 'web');
    const wished = Date.now();
    await cancel(name);
    measured.push((await sides.source.told('cancelled')) - wished);
    const { status } = await system.finished(name);
    expect(status, status?.message).toMatchObject({ phase: 'Cancelled' });
  }
  console.info(`from the wish to QEMU's cancelled: ${measured.map(Math.round).join(', ')} ms`);
  expect(Math.max(...measured)).toBeLessThanOrEqual(cancelBound);
});

/** When the transfer began, in milliseconds since the epoch. */
async function beginning({ source }: TwoSides): Promise<number> {
  const { 'total-time': elapsed = 0 } = await source.monitor.execute('query-migrate');
  return Date.now() - elapsed;
}

/** From the beginning of the transfer to the moment when the source stops the guest, as last seen. It hardly varies. */
let untilTheStop: number;

beforeAll(async () => {
  await using sides = await moveSlowly(system, 'measured', 'web', { transfer });
  const begun = await beginning(sides);
  untilTheStop = (await sides.source.told('STOP')) - begun;
  expect((await system.finished('measured')).status?.phase).toBe('Succeeded');
});

test.each([-200, -150, -100, -50, -40, -30, -20, -10, 0, 10, 20, 30, 40, 50])(
  'a cancel some %i ms from the moment when the source stops the guest',
  async (milliseconds) => {
    const name = `edge-${milliseconds < 0 ? `before-${-milliseconds}` : `after-${milliseconds}`}`;
    await using sides = await moveSlowly(system, name, 'web', { transfer });
    const wait = (await beginning(sides)) + untilTheStop + milliseconds - Date.now();
    await delay(Math.max(wait, 0));
    const wished = Date.now();
    const found = await cancel(name);
    const { status } = await system.finished(name);
    const owner = (await system.virtualMachine('web')).status?.placement?.podUID;
    const stopped = sides.source.events.findLast((event) => event.name === 'STOP')?.timestampMilliseconds;
    const when = stopped === undefined ? 'no stop' : `${Math.round(wished - stopped)} ms from the stop`;
    console.info(`${name}: ${when}, ${status?.phase}, source ${sides.source.story.join(' ')}`);
    if (status?.phase === 'Cancelled') {
      expect(owner).toBe(sides.source.pod.metadata.uid);
      expect(sides.target.story).not.toContain('RESUME');
      return;
    }
    expect(status, status?.message).toMatchObject({ phase: 'Succeeded' });
    expect(owner).toBe(sides.target.pod.metadata.uid);
    expect(sides.source.story).not.toContain('RESUME');
    // One that came after the end finds nothing left to cancel.
    if (isTerminal(found.status?.phase)) return;
    expect(status?.conditions).toContainEqual(expect.objectContaining({ type: 'CancelRejected', status: 'True' }));
  },
);
