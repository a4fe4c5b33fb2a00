/** A guest's lives: it has one, and another from the first heartbeat on each time its VM was started anew. */
import { type HeartbeatReport, readHeartbeats } from '../guest/heartbeat.ts';
import type { SerialChunk } from '../guest/heartbeat-recorder.ts';

export interface Life {
  /** The QEMUs that ran it, in the order in which they were heard first. */
  readonly sides: readonly string[];
  readonly report: HeartbeatReport;
}

/**
 * Puts the QEMUs that were heard into lives. A copy goes on from a count that its original had reached while it was recorded; a side
 * that begins below all of that was started anew. For this the recording must begin well after the guest's first heartbeats.
 */
export function readLives(output: readonly SerialChunk[]): Life[] {
  const lives: { sides: string[]; chunks: SerialChunk[]; first: number }[] = [];
  for (const [side, chunks] of Map.groupBy(output, (chunk) => chunk.side)) {
    const { beats, first } = readHeartbeats(chunks);
    if (beats === 0) continue; // a target that never ran
    const current = lives.at(-1);
    if (current === undefined || first < current.first) lives.push({ sides: [side], chunks: [...chunks], first });
    else {
      current.sides.push(side);
      current.chunks.push(...chunks);
    }
  }
  return lives.map(({ sides, chunks }) => ({ sides, report: readHeartbeats(chunks) }));
}

/** Why two copies of the guest ran at once, or an older one after a newer; empty when neither happened. */
export function doubleRuns(output: readonly SerialChunk[], lives: readonly Life[]): string[] {
  const within = lives.flatMap(({ report }) => report.faults.filter((fault) => fault.endsWith('both ran')));
  const lifeOf = new Map(lives.flatMap(({ sides }, index) => sides.map((side) => [side, index] as const)));
  const heard = output.flatMap(({ side }) => lifeOf.get(side) ?? []);
  const back = heard.findIndex((life, index) => life < (heard[index - 1] ?? 0));
  if (back === -1) return within;
  return [...within, `life ${heard[back]} was heard again after life ${heard[back - 1]} had begun: both ran`];
}
