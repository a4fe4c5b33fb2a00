import type { MigrationReason } from '../api/reasons.ts';

/** Why an attempt is given up: the stable word, and a sentence for people. */
export interface Cause {
  reason: MigrationReason;
  message: string;
}
