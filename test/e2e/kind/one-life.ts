/** What holds after every migration of a guest that was not lost. */
import { expect } from 'vitest';
import { assertUnbroken, type HeartbeatReport, readHeartbeats } from '../../guest/heartbeat.ts';
import type { KindSystem } from './system.ts';

/** One pod, which is ready, and one life without a break that goes on. */
export async function assertOneLife(system: KindSystem, name: string): Promise<HeartbeatReport> {
  const { status } = await system.reached(name, 'Running');
  const owner = status?.placement?.podUID;
  await system.until('only the owner is left', async () => {
    const left = await system.podsOf(name);
    return left.every(({ metadata }) => metadata.uid === owner) ? true : undefined;
  });
  await system.goesOn(name);
  const report = readHeartbeats(system.console(name).output);
  assertUnbroken(report);
  expect(report.moves.at(-1)?.to ?? owner).toBe(owner);
  return report;
}
