/** When a migration that has ended is removed, if its owner has said so. */
import type { ControllerFacts, Decision } from './controller-facts.ts';
import { nothing, one } from './controller-facts.ts';
import { durationMilliseconds } from './limits.ts';

/**
 * Only what owes nothing is removed: as long as a pod is left that has lost, the object says so.
 *
 * @param finishedAt in milliseconds since the epoch
 */
export function expire({ migration, sourcePod, targetPod, debts, now }: ControllerFacts, finishedAt: number): Decision {
  const { ttlAfterFinished } = migration.spec;
  const loser = migration.status?.owner === undefined ? targetPod : sourcePod;
  if (ttlAfterFinished === undefined || loser.exists || debts.length > 0) return nothing;
  const wait = finishedAt + durationMilliseconds(ttlAfterFinished) - now;
  return wait > 0 ? { effects: [], lookAgainAfter: wait } : one({ kind: 'deleteMigration' });
}
