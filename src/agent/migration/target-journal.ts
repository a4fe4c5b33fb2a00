/** The two notes of a target that exclude each other: it continues the guest, or it never will. Each is made before it is acted on. */
import { attemptFiles } from '../../migration/attempt.ts';
import type { Cause } from '../../migration/cause.ts';
import type { StateDirectory } from '../state-directory.ts';

interface Attempt {
  readonly podUID: string;
  readonly migrationUID: string;
  readonly attempt: number;
}

class AlreadyDecided extends Error {
  readonly code = 'AlreadyDecided';
}

/** @throws AlreadyDecided when the attempt was refused. The caller holds the pod's place in the queue. */
export async function recordContinued(
  state: StateDirectory,
  { podUID, migrationUID, attempt }: Attempt,
): Promise<void> {
  const { continued, refused } = attemptFiles(migrationUID, attempt);
  if (await state.has(podUID, refused)) throw new AlreadyDecided(`attempt ${attempt} of ${podUID} was refused`);
  await state.mark(podUID, continued);
}

/** @throws AlreadyDecided when the guest was continued. The caller holds the pod's place in the queue. */
export async function recordRefused(
  state: StateDirectory,
  { podUID, migrationUID, attempt }: Attempt,
  cause: Cause | undefined,
): Promise<void> {
  const { continued, refused } = attemptFiles(migrationUID, attempt);
  if (await state.has(podUID, continued)) throw new AlreadyDecided(`attempt ${attempt} of ${podUID} was continued`);
  await state.write(podUID, refused, cause ?? true);
}
