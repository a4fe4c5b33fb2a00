import { stat } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { BareQemu } from './bare-qemu.ts';
import { assertNeverBothRunning, assertUnbroken, readHeartbeats } from './heartbeat.ts';
import { HeartbeatRecorder } from './heartbeat-recorder.ts';
import { guestRom, type MetalGuestOptions } from './metal/rom.ts';

const deadline = () => AbortSignal.timeout(60_000);

/** A machine whose console is recorded from its first byte on, as `source`. */
async function boot(options: MetalGuestOptions, recorder: HeartbeatRecorder): Promise<BareQemu> {
  const qemu = await BareQemu.start(['-bios', await guestRom(options)]);
  recorder.follow('source', qemu.serial);
  await recorder.connected('source', deadline());
  const ready = recorder.waitFor(/ready\n/, deadline());
  await qemu.execute('cont');
  await ready;
  return qemu;
}

test('options out of bounds are refused', async () => {
  await expect(guestRom({ totalMiB: 4096 })).rejects.toThrow('totalMiB is 4096, not in 1..2047');
  await expect(guestRom({ totalMiB: 16, dirtyMiBPerSecond: 1 })).rejects.toThrow('hotMiB is 0, not in 1..16');
});

test('equal options give the same image of 64 KiB', async () => {
  const rom = await guestRom({ totalMiB: 32 });
  expect(await guestRom({ totalMiB: 32, hotMiB: 0 })).toBe(rom);
  expect(await guestRom({ totalMiB: 33 })).not.toBe(rom);
  expect((await stat(rom)).size).toBe(65_536);
});

test('it counts, compares its memory, and finds nothing wrong', async () => {
  await using recorder = new HeartbeatRecorder();
  await using _qemu = await boot({ totalMiB: 32, heartbeatMilliseconds: 5 }, recorder);
  await recorder.waitFor(/S00000000 00000002 /, deadline()); // two full comparisons
  const report = readHeartbeats(recorder.output);
  assertUnbroken(report);
  expect(report.first).toBe(1);
  expect(report.rewrittenPages).toBe(0);
});

test('a flipped bit is found in cold and in hot memory, once each', async () => {
  await using recorder = new HeartbeatRecorder();
  await using _qemu = await boot({ totalMiB: 32, hotMiB: 8, dirtyMiBPerSecond: 20 }, recorder);
  const reported = recorder.waitFor(/!0000[0-7].{3}\n/s, deadline()); // hot: pages below 0x800
  const lastPage = recorder.waitFor(/!00001FFF\n/, deadline());
  recorder.send('source', 'f');
  await Promise.all([reported, lastPage]);
  const all = recorder.waitFor(/C00000002\n/, deadline());
  recorder.send('source', 'c');
  await all;
  expect(() => assertUnbroken(readHeartbeats(recorder.output))).toThrow('the guest found 2 errors in its memory');
});

test('it dirties memory at about the rate asked for, stops when told, and starts again', async () => {
  await using recorder = new HeartbeatRecorder();
  const options = { totalMiB: 48, hotMiB: 32, dirtyMiBPerSecond: 40, heartbeatMilliseconds: 50 };
  await using _qemu = await boot(options, recorder);
  const before = readHeartbeats(recorder.output);
  await recorder.waitFor(/(?:T.*\n(?:S.*\n)*){60}/, deadline());
  const after = readHeartbeats(recorder.output);
  // Its own heartbeats are the clock: a busy host slows both down. 40 MiB/s are 512 pages in 50 ms.
  const pagesPerBeat = (after.rewrittenPages - before.rewrittenPages) / (after.last - before.last);
  expect(pagesPerBeat).toBeGreaterThan(300);
  expect(pagesPerBeat).toBeLessThan(800);
  const twiceTheSame = /S\S+ \S+ (\S+)\n(?:T.*\n)*S\S+ \S+ \1\n/;
  const stopped = recorder.waitFor(twiceTheSame, deadline());
  recorder.send('source', 's');
  await stopped;
  const startedAgain = recorder.waitFor(/S\S+ \S+ (\S+)\n(?:T.*\n)*S\S+ \S+ (?!\1)/, deadline());
  recorder.send('source', 'd');
  await startedAgain;
});

test('over a migration while it dirties memory the count goes on and memory stays intact', async () => {
  await using recorder = new HeartbeatRecorder();
  const options = { totalMiB: 64, hotMiB: 16, dirtyMiBPerSecond: 50, heartbeatMilliseconds: 2 };
  await using source = await boot(options, recorder);
  await using target = await BareQemu.start(['-bios', await guestRom(options), '-incoming', 'defer']);
  recorder.follow('target', target.serial);
  await recorder.connected('target', deadline());
  const beating = recorder.waitFor(/T[0-9A-F]{8}\n/, deadline(), 'target');
  await source.migrateTo(target, deadline());
  await beating;
  const compared = recorder.waitFor(/C00000000\n/, deadline(), 'target');
  recorder.send('target', 'c');
  await compared;
  const report = readHeartbeats(recorder.output);
  assertUnbroken(report);
  assertNeverBothRunning(recorder.output);
  expect(report.moves).toMatchObject([{ from: 'source', to: 'target' }]);
});

test('a source that is continued after the move is seen as a second run', async () => {
  await using recorder = new HeartbeatRecorder();
  await using source = await boot({ totalMiB: 8 }, recorder);
  const rom = await guestRom({ totalMiB: 8 });
  await using target = await BareQemu.start(['-bios', rom, '-incoming', 'defer']);
  recorder.follow('target', target.serial);
  await recorder.connected('target', deadline());
  const both = ['source', 'target'].map((side) => recorder.waitFor(/T.{8}\nT.{8}\n/, deadline(), side));
  await source.migrateTo(target, deadline());
  await source.execute('cont');
  await Promise.all(both);
  expect(() => assertNeverBothRunning(recorder.output)).toThrow('both ran');
});

test.each([
  ['when told', {}, async (_qemu: BareQemu, recorder: HeartbeatRecorder) => recorder.send('source', 'q')],
  ['after its time', { powerOffAfterMilliseconds: 200 }, async () => {}],
  ['by the power button', {}, async (qemu: BareQemu) => void (await qemu.execute('system_powerdown'))],
])('it powers itself off %s', async (_case, options, act) => {
  await using recorder = new HeartbeatRecorder();
  await using qemu = await boot({ totalMiB: 8, ...options }, recorder);
  await act(qemu, recorder);
  expect(await qemu.ended).toBe(0);
});

test('it can be told to ignore the power button', async () => {
  await using recorder = new HeartbeatRecorder();
  await using qemu = await boot({ totalMiB: 8, obeyPowerButton: false }, recorder);
  const pressed = recorder.waitFor(/B\n(?:[TS].*\n){20}/, deadline());
  await qemu.execute('system_powerdown');
  await pressed; // and it goes on counting
  assertUnbroken(readHeartbeats(recorder.output));
});
