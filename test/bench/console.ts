/** What a guest tells of a move, from the recording of its consoles. */
import { assertUnbroken, readHeartbeats } from '../guest/heartbeat.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import type { Figures } from './metric.ts';

const patience = () => AbortSignal.timeout(60_000);

/** Resolves when the guest has filled its memory. */
export async function untilReady(recorder: HeartbeatRecorder): Promise<void> {
  const ready = /ready\n/;
  if (ready.test(recorder.output.map(({ text }) => text).join(''))) return;
  await recorder.waitFor(ready, patience());
}

/** Resolves when `side` has printed a hundred heartbeats more: it lives, and a late stumble is in the recording. */
export async function untilBeating(recorder: HeartbeatRecorder, side: string): Promise<void> {
  await recorder.waitFor(/(?:T.{8}\n(?:S.*\n)*){100}/, patience(), side);
}

/**
 * The gaps in what was recorded from the chunk number `from` on, in milliseconds, and when the guest was first heard at the target, by
 * the machine's monotonic clock.
 */
export function gapsSince(
  recorder: HeartbeatRecorder,
  from: number,
  qemuDowntime: number | undefined,
): Pick<Figures, 'gap' | 'addedGap' | 'longestGap'> & { arrivedAt: number } {
  const report = readHeartbeats(recorder.output.slice(from));
  assertUnbroken(report);
  const [move] = report.moves;
  if (move === undefined || report.moves.length > 1) {
    throw new Error(`the guest was seen to move ${report.moves.length} times in one migration`);
  }
  const gap = move.gapMilliseconds;
  const longestGap = report.longestGapMilliseconds;
  const arrivedAt = move.atMilliseconds;
  return { gap, longestGap, arrivedAt, ...(qemuDowntime === undefined ? {} : { addedGap: gap - qemuDowntime }) };
}

/** Lets the guest compare all its memory, and throws unless its whole life was unbroken. */
export async function assertIntact(recorder: HeartbeatRecorder, side: string): Promise<void> {
  const compared = recorder.waitFor(/C[0-9A-F]{8}\n/, patience(), side);
  recorder.send(side, 'c');
  await compared;
  assertUnbroken(readHeartbeats(recorder.output));
}
