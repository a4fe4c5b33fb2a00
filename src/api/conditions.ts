/** `metav1.Condition`. */
export interface Condition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  reason: string;
  message: string;
  lastTransitionTime: string;
  observedGeneration?: number;
}

/**
 * The conditions with this one set, each at its old place. `lastTransitionTime` becomes `now` only when the status changes, and
 * the same array comes back when nothing changes at all, so that a caller can tell whether there is something to write.
 */
export function setCondition<C extends Condition>(
  conditions: readonly C[] | undefined,
  condition: Omit<C, 'lastTransitionTime'>,
  now: string,
): C[] {
  const before = (conditions ?? []) as C[];
  const index = before.findIndex(({ type }) => type === condition.type);
  const old = before[index];
  if (!old) return [...before, { ...condition, lastTransitionTime: now } as C];
  const lastTransitionTime = old.status === condition.status ? old.lastTransitionTime : now;
  const changed = { ...condition, lastTransitionTime } as C;
  if (isSame(old, changed)) return before;
  return before.with(index, changed);
}

function isSame(a: Condition, b: Condition): boolean {
  return (
    a.status === b.status &&
    a.reason === b.reason &&
    a.message === b.message &&
    a.observedGeneration === b.observedGeneration
  );
}
