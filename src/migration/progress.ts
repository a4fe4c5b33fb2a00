/** From QEMU's account of a transfer to the few figures people watch. */
import type { VirtualMachineMigrationStatus } from '../api/virtual-machine-migration.gen.ts';

export type TransferSummary = NonNullable<VirtualMachineMigrationStatus['transfer']>;

/** The part of `query-migrate` that progress is made of. Sizes in bytes, times in milliseconds, `mbps` in megabits per second. */
export interface TransferReport {
  expectedDowntime?: number;
  ram?: {
    total: number;
    transferred: number;
    remaining: number;
    mbps: number;
    pageSize: number;
    dirtyPagesRate: number;
    iteration: number;
  };
}

/**
 * `remaining` jumps up at each pass over memory, so progress is the best share done so far: it never falls. It is 100 only when
 * the VM has moved, which is the controller's to say: 99 is the most that a transfer reaches by itself.
 */
export function summarize(report: TransferReport, previous: TransferSummary | undefined): TransferSummary | undefined {
  const { ram } = report;
  if (ram === undefined) return previous;
  const done = ram.total > 0 ? Math.floor((100 * (ram.total - ram.remaining)) / ram.total) : 0;
  const progressPercent = Math.max(previous?.progressPercent ?? 0, Math.min(99, Math.max(0, done)));
  const bytesPerSecond = Math.round((ram.mbps * 1_000_000) / 8);
  const dirtyBytesPerSecond = ram.dirtyPagesRate * ram.pageSize;
  const netRate = bytesPerSecond - dirtyBytesPerSecond;
  return {
    mode: 'PreCopy',
    progress: `${progressPercent}%`,
    progressPercent,
    totalBytes: count(ram.total),
    transferredBytes: count(ram.transferred),
    remainingBytes: count(ram.remaining),
    dirtyBytesPerSecond: count(dirtyBytesPerSecond),
    bytesPerSecond: count(bytesPerSecond),
    iteration: count(ram.iteration),
    ...(report.expectedDowntime === undefined ? {} : { expectedDowntimeMilliseconds: count(report.expectedDowntime) }),
    ...(netRate > 0 ? { estimatedSecondsLeft: count(Math.ceil(ram.remaining / netRate)) } : {}),
  };
}

/** A figure as the API takes it: the word of a QEMU whose guest may have broken out must not make a status that is refused. */
function count(figure: number): number {
  return Number.isSafeInteger(figure) && figure > 0 ? figure : 0;
}

const fastFor = 10_000;
const fastEvery = 1_000;
const slowEvery = 5_000;

/**
 * Whether to write progress into the object now: each second for the first ten, every five later, and only when it moved by one
 * per cent. Times in milliseconds on one clock.
 */
export function worthPublishing(
  current: TransferSummary,
  published: { summary: TransferSummary; at: number } | undefined,
  startedAt: number,
  now: number,
): boolean {
  if (published === undefined) return now - startedAt >= fastEvery;
  const every = now - startedAt <= fastFor ? fastEvery : slowEvery;
  if (now - published.at < every) return false;
  const total = Math.max(1, current.totalBytes ?? 1);
  const moved = Math.abs((current.transferredBytes ?? 0) - (published.summary.transferredBytes ?? 0));
  return (100 * moved) / total >= 1;
}
