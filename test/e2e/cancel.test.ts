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
const maxDowntimeMilliseconds = 100;

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

/** Waits until so many milliseconds before (negative) or after the source stops the guest; before that it can only be foreseen. */
async function around({ source }: TwoSides, milliseconds: number): Promise<void> {
  if (milliseconds >= 0) {
    await source.told('pre-switchover');
    return await delay(milliseconds);
  }
  for (;;) {
    const { ram, status } = await source.monitor.execute('query-migrate');
    if (status !== 'active' || ram === undefined) return;
    // QEMU stops the guest as soon as it can send the rest in time, at the pace that it has measured itself.
    const bytesPerMillisecond = Math.max((ram.mbps * 1_000_000) / 8 / 1_000, 1);
    const left = ram.remaining / bytesPerMillisecond - maxDowntimeMilliseconds + milliseconds;
    if (left <= 10) return await delay(Math.max(left, 0));
    await delay(2);
  }
}

test.each([-150, -100, -75, -50, -40, -30, -20, -10, 0, 10, 20, 30, 40, 50])(
  'a cancel %i ms from the moment when the source stops the guest',
  async (milliseconds) => {
    const name = `edge-${milliseconds < 0 ? `before-${-milliseconds}` : `after-${milliseconds}`}`;
    const transfer = { maxBandwidth: '32Mi', maxDowntime: `${maxDowntimeMilliseconds}ms` };
    await using sides = await moveSlowly(system, name, 'web', { transfer });
    await around(sides, milliseconds);
    const wished = Date.now();
    const found = await cancel(name);
    const { status } = await system.finished(name);
    const owner = (await system.virtualMachine('web')).status?.placement?.podUID;
    const stopped = sides.source.events.findLast((event) => event.name === 'STOP')?.timestampMilliseconds;
    const when = stopped === undefined ? 'with no stop' : `${Math.round(wished - stopped)} ms from the stop`;
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
