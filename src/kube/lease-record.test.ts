import { describe, expect, it } from 'vitest';
import type { Lease, LeaseSpec } from './core-resources.ts';
import { heldBy, mayTake, observeLease, released } from './lease-record.ts';

const spec: LeaseSpec = {
  holderIdentity: 'a',
  leaseDurationSeconds: 15,
  leaseTransitions: 3,
  acquireTime: '2026-01-01T00:00:00.000000Z',
  renewTime: '2026-01-01T00:01:00.000000Z',
};
const lease = (changes: LeaseSpec = {}): Lease => ({
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: { namespace: 'default', name: 'test' },
  spec: { ...spec, ...changes },
});
const wallClock = new Date('2026-01-01T00:02:00.123Z');

describe('a standby', () => {
  it('waits a whole lease duration from its own first sight, whatever the times in the record say', () => {
    const observation = observeLease(undefined, lease({ renewTime: '1999-01-01T00:00:00.000000Z' }), 1_000);
    expect(mayTake(observation, 'b', 15_999)).toBe(false);
    expect(mayTake(observation, 'b', 16_000)).toBe(true);
  });

  it('does not begin to wait anew when it sees the same record again', () => {
    const first = observeLease(undefined, lease(), 1_000);
    expect(observeLease(first, lease(), 9_000)).toBe(first);
  });

  it('begins to wait anew when the holder has renewed', () => {
    const first = observeLease(undefined, lease(), 1_000);
    const renewed = observeLease(first, lease({ renewTime: '2026-01-01T00:01:02.000000Z' }), 3_000);
    expect(mayTake(renewed, 'b', 16_500)).toBe(false);
  });

  it('takes a lease without a holder at once', () => {
    const observation = observeLease(undefined, lease(released(spec, wallClock)), 1_000);
    expect(mayTake(observation, 'b', 1_000)).toBe(true);
  });
});

it('lets the holder renew at any time, and counts only changes of the holder', () => {
  expect(mayTake({ spec, seenAt: 1_000 }, 'a', 1_000)).toBe(true);
  const renewed = heldBy('a', spec, 15_000, wallClock);
  expect(renewed).toEqual({ ...spec, renewTime: '2026-01-01T00:02:00.123000Z' });
  const taken = heldBy('b', spec, 15_000, wallClock);
  expect(taken).toMatchObject({ holderIdentity: 'b', leaseTransitions: 4, acquireTime: '2026-01-01T00:02:00.123000Z' });
  expect(heldBy('b', undefined, 15_000, wallClock)).toMatchObject({ holderIdentity: 'b', leaseTransitions: 0 });
});
