import { setTimeout as delay } from 'node:timers/promises';
import type { System } from '../e2e/system.ts';
import { BareGuest } from './bare-guest.ts';
import type { Comparison } from './bounds.ts';
import { FerriedGuest, type FerriedRun } from './ferried-guest.ts';
import type { Figures } from './metric.ts';
import { type ProfileName, profiles } from './profile.ts';

/** A guest that was stopped as a process catches up with its timers. */
const calmMilliseconds = 500;

/**
 * Moves two equal guests in turn between the same two nodes, one by bare QMP and one by vmferry. The one that is not being
 * measured stands still as a process (SIGSTOP), so that each has the machine to itself.
 *
 * @throws when a migration fails, or when a guest was not one unbroken life with its memory intact.
 */
export async function compare(
  system: System,
  name: ProfileName,
  runs: number,
  report: (line: string) => void,
): Promise<Comparison> {
  const profile = profiles[name];
  const [first, second] = [...system.cluster.nodes.values()];
  if (first?.netns === undefined || second?.netns === undefined) {
    throw new Error('The benchmark needs network namespaces, and those need root: a loopback adds pauses of its own.');
  }
  const { directory } = system.cluster;
  await using straight = await BareGuest.start({ profile, directory, places: [first, second] });
  straight.freeze();
  await using ferried = await FerriedGuest.start(system, `bench-${name}`, profile);
  const bare: Figures[] = [];
  const vmferry: FerriedRun[] = [];
  for (let run = 1; run <= runs; run++) {
    ferried.freeze();
    straight.thaw();
    await delay(calmMilliseconds);
    bare.push(await straight.migrate());
    straight.freeze();
    ferried.thaw();
    vmferry.push(await ferried.migrate());
    const walls = [bare.at(-1)?.wall, vmferry.at(-1)?.figures.wall].map((wall) => `${Math.round(wall ?? 0)} ms`);
    report(`${name} ${run}/${runs}: bare QMP ${walls[0]}, vmferry ${walls[1]}`);
  }
  await ferried.assertIntact();
  ferried.freeze();
  straight.thaw();
  await straight.assertIntact();
  ferried.thaw();
  return { bare, vmferry };
}
