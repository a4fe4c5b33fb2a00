import type { SerialChunk } from './heartbeat-recorder.ts';

/** One heartbeat of the guest, as the host saw it. */
interface Beat {
  readonly side: string;
  readonly count: number;
  readonly atMilliseconds: number;
}

/** A change of the guest from one QEMU to another. */
interface Move {
  readonly from: string;
  readonly to: string;
  /** From the last heartbeat on the one to the first on the other. */
  readonly gapMilliseconds: number;
  /** The first on the other, by the machine's monotonic clock. */
  readonly atMilliseconds: number;
}

/** What the guests' serial output proves. */
export interface HeartbeatReport {
  readonly beats: number;
  readonly first: number;
  readonly last: number;
  /** Between two heartbeats in sequence; includes the heartbeat's own period. */
  readonly longestGapMilliseconds: number;
  readonly moves: readonly Move[];
  /** Why the run was not one unbroken life of one guest; empty when it was. */
  readonly faults: readonly string[];
  /** Bad memory found by the guest itself. */
  readonly errors: number;
  /** Full comparisons of its memory that the guest has done. */
  readonly passes: number;
  /** Pages of 4 KiB rewritten (bare-metal guest). */
  readonly rewrittenPages: number;
}

/**
 * Reads the guest's own account of its life. QEMUs are put in the order of their first output; a line cut in two by a
 * move is joined. Each side must be one QEMU process.
 */
export function readHeartbeats(output: readonly SerialChunk[]): HeartbeatReport {
  const lines = readLines(output);
  const beats = lines.flatMap(readBeat);
  const faults = bothRan(beats).concat(brokenSequence(beats));
  const status = lines.reduce(readStatus, { errors: 0, passes: 0, rewrittenPages: 0 });
  if (status.errors > 0) faults.push(`the guest found ${status.errors} errors in its memory`);
  let longest = 0;
  const moves: Move[] = [];
  for (const [before, after] of neighbours(beats)) {
    const gapMilliseconds = after.atMilliseconds - before.atMilliseconds;
    longest = Math.max(longest, gapMilliseconds);
    if (before.side !== after.side)
      moves.push({ from: before.side, to: after.side, gapMilliseconds, atMilliseconds: after.atMilliseconds });
  }
  return {
    beats: beats.length,
    first: beats[0]?.count ?? 0,
    last: beats.at(-1)?.count ?? 0,
    longestGapMilliseconds: longest,
    moves,
    faults,
    ...status,
  };
}

/**
 * Throws when two QEMUs ran the same guest. Both continue from the same count, so a count printed by both is proof, and
 * needs no clock.
 */
export function assertNeverBothRunning(output: readonly SerialChunk[]): void {
  const faults = bothRan(readLines(output).flatMap(readBeat));
  if (faults.length > 0) throw new Error(faults.join('; '));
}

/** Throws unless the output is one guest's unbroken life with its memory intact. */
export function assertUnbroken(report: HeartbeatReport): void {
  if (report.beats === 0) throw new Error('no heartbeat at all');
  if (report.faults.length > 0) throw new Error(report.faults.join('; '));
}

interface Line {
  readonly side: string;
  readonly atMilliseconds: number;
  readonly text: string;
}

function readLines(output: readonly SerialChunk[]): readonly Line[] {
  const sides = Map.groupBy(output, (chunk) => chunk.side);
  const lines: Line[] = [];
  let rest = '';
  for (const chunks of sides.values()) {
    for (const { side, atMilliseconds, text } of chunks) {
      const parts = (rest + text).split('\n');
      rest = parts.pop() ?? '';
      for (const part of parts) lines.push({ side, atMilliseconds, text: part.trimEnd() });
    }
  }
  return lines;
}

/** The two guests' heartbeats: `T0000002A`, and `counter=42 checksum=… ok`. */
function readBeat({ side, atMilliseconds, text }: Line): readonly Beat[] {
  const metal = /^T([0-9A-F]{8})$/.exec(text)?.[1];
  if (metal !== undefined) return [{ side, atMilliseconds, count: Number.parseInt(metal, 16) }];
  const linux = /^counter=(\d+) /.exec(text)?.[1];
  return linux === undefined ? [] : [{ side, atMilliseconds, count: Number(linux) }];
}

interface Status {
  readonly errors: number;
  readonly passes: number;
  readonly rewrittenPages: number;
}

/** The two guests' words on their memory: `S<errors> <passes> <pages>` or `C<errors>`, and `… checks=7 errors=0 ok`. */
function readStatus(status: Status, { text }: Line): Status {
  const hex = (digits: string | undefined) => Number.parseInt(digits ?? '', 16);
  const metal = /^S([0-9A-F]{8}) ([0-9A-F]{8}) ([0-9A-F]{8})$/.exec(text);
  if (metal) return { errors: hex(metal[1]), passes: hex(metal[2]), rewrittenPages: hex(metal[3]) };
  const compared = /^C([0-9A-F]{8})$/.exec(text);
  if (compared) return { ...status, errors: hex(compared[1]) };
  const linux = /^counter=\d+ .*checks=(\d+) errors=(\d+)/.exec(text);
  return linux ? { ...status, passes: Number(linux[1]), errors: Number(linux[2]) } : status;
}

function bothRan(beats: readonly Beat[]): string[] {
  const printedBy = new Map<number, string>();
  for (const { side, count } of beats) {
    const other = printedBy.get(count);
    if (other !== undefined && other !== side)
      return [`heartbeat ${count} came from ${other} and from ${side}: both ran`];
    printedBy.set(count, side);
  }
  return [];
}

function brokenSequence(beats: readonly Beat[]): string[] {
  return neighbours(beats)
    .filter(([before, after]) => after.count !== before.count + 1)
    .map(
      ([before, after]) =>
        `heartbeat ${before.count} on ${before.side} was followed by ${after.count} on ${after.side}`,
    );
}

function neighbours<T>(items: readonly T[]): (readonly [T, T])[] {
  return items.slice(1).map((item, index) => [items[index] as T, item] as const);
}
