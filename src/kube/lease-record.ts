import { type Lease, type LeaseSpec, microTime } from './core-resources.ts';

/** A lease's content as it was first seen, and when, by this process' own monotonic clock in milliseconds. */
export interface Observation {
  readonly spec: LeaseSpec;
  readonly seenAt: number;
}

/**
 * Notes a lease that was just read. The time of the first sight stays as long as its holder does not renew: clocks of different
 * hosts are never compared, a standby waits a whole lease duration of its own time.
 */
export function observeLease(before: Observation | undefined, lease: Lease, now: number): Observation {
  const spec = lease.spec ?? {};
  if (before && isSameRecord(before.spec, spec)) return before;
  return { spec, seenAt: now };
}

/** Whether `identity` may write itself into the lease: it is the holder, there is none, or the holder was silent for too long. */
export function mayTake({ spec, seenAt }: Observation, identity: string, now: number): boolean {
  if (!spec.holderIdentity || spec.holderIdentity === identity) return true;
  return now >= seenAt + (spec.leaseDurationSeconds ?? 0) * 1000;
}

/** The lease's next content with `identity` as its holder. */
export function heldBy(
  identity: string,
  before: LeaseSpec | undefined,
  leaseDurationMilliseconds: number,
  wallClock: Date,
): LeaseSpec {
  const renewTime = microTime(wallClock);
  const isRenewal = before?.holderIdentity === identity;
  return {
    ...before,
    holderIdentity: identity,
    leaseDurationSeconds: Math.ceil(leaseDurationMilliseconds / 1000),
    acquireTime: isRenewal ? (before.acquireTime ?? renewTime) : renewTime,
    renewTime,
    leaseTransitions: (before?.leaseTransitions ?? 0) + (before && !isRenewal ? 1 : 0),
  };
}

/** The lease's content after its holder gave it up: a standby takes it at its next look. */
export function released(before: LeaseSpec, wallClock: Date): LeaseSpec {
  return { ...before, holderIdentity: '', leaseDurationSeconds: 1, renewTime: microTime(wallClock) };
}

function isSameRecord(a: LeaseSpec, b: LeaseSpec): boolean {
  return (
    a.holderIdentity === b.holderIdentity &&
    a.renewTime === b.renewTime &&
    a.acquireTime === b.acquireTime &&
    a.leaseTransitions === b.leaseTransitions
  );
}
