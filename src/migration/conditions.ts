/** Conditions as a map from type to what is true, turned into the list that Kubernetes wants. Pure: the time is given. */
import type { VirtualMachineMigrationStatus } from '../api/virtual-machine-migration.gen.ts';

type Condition = NonNullable<VirtualMachineMigrationStatus['conditions']>[number];

export type MigrationCondition =
  | 'Succeeded'
  | 'Finished'
  | 'PreflightPassed'
  | 'TargetReady'
  | 'SourceCleaned'
  | 'TargetCleaned'
  | 'CancelRejected';

export interface ConditionChange {
  status: 'True' | 'False' | 'Unknown';
  reason: string;
  message: string;
}

/** The list with one condition set. `lastTransitionTime` moves only when the status does; an equal condition leaves the list as it is. */
export function withCondition(
  conditions: readonly Condition[],
  type: MigrationCondition,
  change: ConditionChange,
  now: string,
): readonly Condition[] {
  const before = conditions.find((condition) => condition.type === type);
  if (before?.status === change.status && before.reason === change.reason && before.message === change.message)
    return conditions;
  const lastTransitionTime = before?.status === change.status ? before.lastTransitionTime : now;
  const after: Condition = { type, ...change, lastTransitionTime };
  return before === undefined
    ? [...conditions, after]
    : conditions.map((condition) => (condition === before ? after : condition));
}
