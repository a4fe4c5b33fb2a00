/** How long a guest stands still while it moves, beside one that a script moves by QMP alone between pods on the same two nodes. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { profiles } from '../../bench/profile.ts';
import { BareGuests } from './bare-guests.ts';
import { judged, median, spread, tell } from './measured.ts';
import { assertOneLife, assertUnbrokenLife } from './one-life.ts';
import { KindSystem } from './system.ts';

const runs = 7;
const { memory, guest: profile } = profiles.idle;
const guest = { ...profile, heartbeatMilliseconds: 5 };
const resources = { requests: { cpu: '500m' } };
/** What vmferry may add, milliseconds. */
const bound = 10;

let system: KindSystem;
beforeAll(async () => {
  system = await KindSystem.start('guest-gap');
});
afterAll(() => system?.[Symbol.asyncDispose]());

test('the gap of an idle guest of 256 MiB, moved by vmferry and by bare QMP in turn', async (context) => {
  await system.startVirtualMachine('web', guest, { memory, resources });
  const { from, to } = await system.nodesOf('web');
  await using bare = await BareGuests.start(system);
  const straight = await bare.launch('bare', from, guest, { memory, resources });
  const ofQemu: Record<'bare' | 'web', number[]> = { bare: [], web: [] };
  for (let run = 1; run <= runs; run += 1) {
    const target = run % 2 === 1 ? to : from;
    await straight.prepare(target);
    ofQemu.bare.push((await straight.move()).qemuDowntime ?? Number.NaN);
    await system.migrate(`web-${run}`, 'web', { target: { nodeName: target } });
    const { status } = await system.finished(`web-${run}`);
    expect(status, status?.message).toMatchObject({ phase: 'Succeeded' });
    ofQemu.web.push(status?.source?.qemuDowntimeMilliseconds ?? Number.NaN);
  }
  const gaps = {
    bare: (await assertUnbrokenLife(system, 'bare')).moves.map(({ gapMilliseconds }) => gapMilliseconds),
    web: (await assertOneLife(system, 'web')).moves.map(({ gapMilliseconds }) => gapMilliseconds),
  };
  expect([gaps.bare.length, gaps.web.length]).toEqual([runs, runs]);
  const added = median(gaps.web) - median(gaps.bare);
  // How much is left to send when QEMU stops the guest is chance: what comes on top is the driver's.
  const onTop = {
    bare: gaps.bare.map((gap, run) => gap - (ofQemu.bare[run] ?? Number.NaN)),
    web: gaps.web.map((gap, run) => gap - (ofQemu.web[run] ?? Number.NaN)),
  };
  tell(
    context,
    `by bare QMP: ${spread(gaps.bare)}, by QEMU's own figure ${spread(ofQemu.bare)}`,
    `by vmferry:  ${spread(gaps.web)}, by QEMU's own figure ${spread(ofQemu.web)}`,
    "0 to 5 ms of each gap are the guest's heartbeat's",
    judged('what vmferry adds to the gap', added, bound),
    judged("what it adds beyond QEMU's own figure", median(onTop.web) - median(onTop.bare), bound),
  );
});
