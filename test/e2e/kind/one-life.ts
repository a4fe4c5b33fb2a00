/** What holds after every migration of a guest that was not lost. */
import { expect } from 'vitest';
import { assertNeverBothRunning, assertUnbroken, type HeartbeatReport, readHeartbeats } from '../../guest/heartbeat.ts';
import type { SerialChunk, SerialRecord } from '../../guest/serial-record.ts';
import { assertOneAfterAnother } from '../consoles.ts';
import type { KindSystem } from './system.ts';

/** One pod, which is ready, and one life without a break that goes on. */
export async function assertOneLife(system: KindSystem, name: string): Promise<HeartbeatReport> {
  const { status } = await system.reached(name, 'Running');
  const owner = status?.placement?.podUID;
  await system.onlyTheOwnerIsLeft(owner, async () => (await system.podsOf(name)).map(({ metadata }) => metadata.uid));
  const report = await assertUnbrokenLife(system, name);
  expect(report.moves.at(-1)?.to ?? owner).toBe(owner);
  return report;
}

/** One life without a break that goes on, whoever moves the guest. */
export async function assertUnbrokenLife(system: KindSystem, name: string): Promise<HeartbeatReport> {
  await system.goesOn(name);
  const report = readHeartbeats(system.console(name).output);
  assertUnbroken(report);
  return report;
}

/**
 * Of a guest that may have died with its node, and been started again: each QEMU was heard once, after the one before had fallen
 * silent, and no two printed the same heartbeat of one life. What a node said last is lost with it, so gaps are none of its faults.
 */
export function assertNeverTwo(record: SerialRecord): { lives: number } {
  // Each node's words come on a way of their own.
  const output = record.output.toSorted((a, b) => a.atMilliseconds - b.atMilliseconds);
  assertOneAfterAnother(output);
  const sides = Map.groupBy(output, ({ side }) => side);
  const lives: SerialChunk[][] = [];
  for (const chunks of sides.values()) {
    // Listening to a guest begins within its first second.
    const isNew = readHeartbeats(chunks).first < 50;
    if (isNew || lives.length === 0) lives.push([...chunks]);
    else lives.at(-1)?.push(...chunks);
  }
  for (const life of lives) assertNeverBothRunning(life);
  return { lives: lives.length };
}
