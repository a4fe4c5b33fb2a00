/** A migration's time, divided: each part ends with a step of the diary, and begins where the one before has ended. */
import type { MigrationDiary } from '../../bench/migration-diary.ts';
import { median } from './measured.ts';

type Steps = MigrationDiary['seen'];

export const qemuStarted = 'QEMU started';
export const qemuThere = 'QEMU has its sockets';

/** In the order in which they come. */
const parts: readonly (readonly [name: string, end: string])[] = [
  ['the controller makes the pod', 'target pod created'],
  ['pod scheduling', 'target pod bound'],
  ['container start', qemuStarted],
  ['QEMU start', qemuThere],
  ['preflight: until the target listens', 'target listens'],
  ['preflight: until the plan', 'plan written'],
  ['transfer', 'source told Completed'],
  ['handover', 'target told TookOver'],
  ['until Succeeded', 'succeeded'],
  ['cleaning, afterwards', 'source cleaned'],
];

/** Medians in milliseconds; what was not seen is part of what follows. */
export function partsOf(diaries: readonly Steps[]): string[] {
  const each = diaries.map(lengths);
  return parts.map(([name]) => {
    const length = median(each.flatMap((of) => of.get(name) ?? []));
    return `${Number.isNaN(length) ? '-' : Math.round(length)}`.padStart(6).concat(`  ${name}`);
  });
}

function lengths(steps: Steps): Map<string, number> {
  const found = new Map<string, number>();
  let begun = 0;
  for (const [name, end] of parts) {
    const ended = steps[end];
    if (ended === undefined) continue;
    // Two clocks may differ by a tick, and a step may have come before the one that it follows here.
    found.set(name, Math.max(0, ended - begun));
    begun = Math.max(begun, ended);
  }
  return found;
}
