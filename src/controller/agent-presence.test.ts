import { expect, test } from 'vitest';
import type { Lease } from '../kube/core-resources.ts';
import { type Sighting, sight } from './agent-presence.ts';

const start = 1_000_000;

/** What was seen of one lease, in order: seconds since the start, its holder, and the number of its renewal. */
function seen(...sightings: [second: number, holder: string, renewal: number, isNews?: true][]): Sighting | undefined {
  let sighting: Sighting | undefined;
  for (const [second, holderIdentity, renewal, isNews = false] of sightings) {
    const lease: Lease = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { namespace: 'vmferry-system', name: 'agent.node-a' },
      // A clock that is years behind: its times are only compared with one another.
      spec: { holderIdentity, renewTime: `1999-01-01T00:00:${String(renewal).padStart(2, '0')}.000000Z` },
    };
    sighting = sight(sighting, lease, start + second * 1_000, isNews);
  }
  return sighting;
}

const presence = (since: number, seenAt: number) => ({ since: start + since * 1_000, seenAt: start + seenAt * 1_000 });

test('a lease that was there before this process says nothing of its agent', () => {
  expect(seen([0, 'a', 1])?.presence).toBeUndefined();
  expect(seen([0, 'a', 1], [500, 'a', 1])?.presence).toBeUndefined();
});

test('an agent is there from the first renewal that was seen', () => {
  expect(seen([0, 'a', 1], [7, 'a', 2])?.presence).toEqual(presence(7, 7));
  expect(seen([3, 'a', 1, true])?.presence).toEqual(presence(3, 3));
});

test('each renewal says how long it was there, and the same one read again does not', () => {
  expect(seen([0, 'a', 1], [7, 'a', 2], [17, 'a', 3], [47, 'a', 4])?.presence).toEqual(presence(7, 47));
  expect(seen([0, 'a', 1], [7, 'a', 2], [17, 'a', 3], [40, 'a', 3])?.presence).toEqual(presence(7, 17));
});

test('after more than 30 s without a renewal it counts as come back', () => {
  expect(seen([0, 'a', 1], [7, 'a', 2], [38, 'a', 3])?.presence).toEqual(presence(38, 38));
});

test('one that was started anew counts from then on, however soon it came', () => {
  expect(seen([0, 'a', 1], [7, 'a', 2], [8, 'b', 3])?.presence).toEqual(presence(8, 8));
  expect(seen([0, 'a', 1], [7, 'b', 1])?.presence).toEqual(presence(7, 7));
});
