import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Claim,
  defaultMigrationLimits,
  describeWaiting,
  fullNodes,
  type MigrationLimits,
  type Scarce,
  whoWaits,
} from './capacity.ts';

const leaving = (node: string): Scarce[] => [{ what: 'cluster' }, { what: 'outbound', node }];
const arriving = (node: string): Scarce[] => [{ what: 'inbound', node }];
const limits: MigrationLimits = { perCluster: 3, outboundPerNode: 2, inboundPerNode: 1 };

let second = 0;
/** Each younger than the one before. */
function claim(migration: string, of: Scarce[], holds = false): Claim {
  return { migration, createdAt: new Date(1_000 * second++).toISOString(), holds, of };
}
const holding = (migration: string, of: Scarce[]) => claim(migration, of, true);

describe('who waits', () => {
  test.each<{ scenario: string; claims: Claim[]; waiting: Record<string, [what: string, place: number]> }>([
    { scenario: 'nobody, when there is room', claims: [claim('a', leaving('x'))], waiting: {} },
    {
      scenario: 'the youngest of three that leave one node',
      claims: [claim('a', leaving('x')), claim('b', leaving('x')), claim('c', leaving('x'))],
      waiting: { c: ['outbound', 1] },
    },
    {
      scenario: 'one that came after the cluster was full',
      claims: [
        holding('a', leaving('x')),
        holding('b', leaving('y')),
        holding('c', leaving('z')),
        claim('d', leaving('w')),
        claim('e', leaving('v')),
      ],
      waiting: { d: ['cluster', 1], e: ['cluster', 2] },
    },
    {
      scenario: 'not a younger one from another node',
      claims: [
        holding('a', leaving('x')),
        holding('b', leaving('x')),
        claim('c', leaving('x')),
        claim('d', leaving('y')),
      ],
      waiting: { c: ['outbound', 1] },
    },
    {
      scenario: 'a second arrival, behind the first that is ready',
      claims: [claim('a', arriving('x')), claim('b', arriving('x')), claim('c', arriving('y'))],
      waiting: { b: ['inbound', 1] },
    },
    {
      scenario: 'everybody, where more are under way than may be: nobody is taken back',
      claims: [holding('a', arriving('x')), holding('b', arriving('x')), claim('c', arriving('x'))],
      waiting: { c: ['inbound', 1] },
    },
  ])('$scenario', ({ claims, waiting }) => {
    const found = [...whoWaits(claims, limits)].map(
      ([
        name,
        {
          for: { what },
          place,
        },
      ]) => [name, [what, place]],
    );
    expect(Object.fromEntries(found)).toEqual(waiting);
  });

  test('of one second, the name decides, for everybody alike', () => {
    const one = { createdAt: '2026-01-01T00:00:00Z', holds: false, of: arriving('x') };
    const claims = [
      { ...one, migration: 'b' },
      { ...one, migration: 'a' },
    ];
    expect([...whoWaits(claims, limits).keys()]).toEqual(['b']);
    expect([...whoWaits(claims.toReversed(), limits).keys()]).toEqual(['b']);
  });
});

const nodes = ['x', 'y', 'z'];
const anyLimits = fc.record({
  perCluster: fc.integer({ min: 1, max: 4 }),
  outboundPerNode: fc.integer({ min: 1, max: 3 }),
  inboundPerNode: fc.integer({ min: 1, max: 3 }),
});
const anyNeed = fc
  .tuple(fc.boolean(), fc.constantFrom(...nodes))
  .map(([leaves, node]) => (leaves ? leaving(node) : arriving(node)));
const everyScarce: Scarce[] = [
  ...leaving('x'),
  ...nodes.flatMap((node) => [...leaving(node).slice(1), ...arriving(node)]),
];

function limitOf({ what }: Scarce, { perCluster, outboundPerNode, inboundPerNode }: MigrationLimits): number {
  return { cluster: perCluster, outbound: outboundPerNode, inbound: inboundPerNode }[what];
}

const isSame = (left: Scarce) => (right: Scarce) => JSON.stringify(left) === JSON.stringify(right);
const users = (claims: readonly Claim[], scarce: Scarce) => claims.filter(({ of }) => of.some(isSame(scarce)));

test('no limit is exceeded by those that begin, and nobody waits for what is free', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(anyNeed, fc.boolean()), { maxLength: 12 }), anyLimits, (given, bounds) => {
      const claims = given.map(([of, holds], index) => claim(`m${index}`, of, holds));
      const waiting = whoWaits(claims, bounds);
      const going = claims.filter(({ migration }) => !waiting.has(migration));
      for (const scarce of everyScarce) {
        const held = users(claims, scarce).filter(({ holds }) => holds).length;
        expect(users(going, scarce).length).toBeLessThanOrEqual(Math.max(held, limitOf(scarce, bounds)));
      }
      for (const { for: scarce } of waiting.values())
        expect(users(going, scarce).length).toBeGreaterThanOrEqual(limitOf(scarce, bounds));
    }),
  );
});

test('an older one goes before a younger one that wants the same', () => {
  fc.assert(
    fc.property(fc.array(anyNeed, { maxLength: 12 }), anyLimits, (given, bounds) => {
      const claims = given.map((of, index) => claim(`m${index}`, of));
      const waiting = whoWaits(
        fc.sample(fc.shuffledSubarray(claims, { minLength: claims.length }), 1)[0] ?? [],
        bounds,
      );
      for (const [index, older] of claims.entries()) {
        if (!waiting.has(older.migration)) continue;
        const same = claims.slice(index).filter(({ of }) => JSON.stringify(of) === JSON.stringify(older.of));
        expect(same.filter(({ migration }) => !waiting.has(migration))).toEqual([]);
      }
    }),
  );
});

test('nobody starves, however many younger ones keep coming and in whatever order those under way end', () => {
  fc.assert(
    fc.property(
      anyLimits,
      fc.array(fc.constantFrom(...nodes), { minLength: 1, maxLength: 8 }),
      fc.array(fc.tuple(fc.constantFrom(...nodes), fc.nat({ max: 7 })), { minLength: 200, maxLength: 200 }),
      (bounds, before, rounds) => {
        let claims = before.map((node, index) => holding(`before-${index}`, leaving(node)));
        const patient = claim('patient', leaving('x'));
        claims.push(patient);
        for (const [index, [node, which]] of rounds.entries()) {
          const waiting = whoWaits(claims, bounds);
          if (!waiting.has('patient')) return;
          claims = claims.map((each) => (waiting.has(each.migration) ? each : { ...each, holds: true }));
          const held = claims.filter(({ holds }) => holds);
          const ends = held[which % held.length];
          claims = [...claims.filter((each) => each !== ends), claim(`young-${index}`, leaving(node))];
        }
        expect.unreachable('it has waited for ever');
      },
    ),
    { numRuns: 200 },
  );
});

test('nodes at which as many arrive as may', () => {
  expect(fullNodes(['b', 'a', 'b', 'a', 'a', 'c'], defaultMigrationLimits)).toEqual(['a', 'b']);
  expect(fullNodes([], defaultMigrationLimits)).toEqual([]);
});

test.each<[Scarce, number, string]>([
  [{ what: 'cluster' }, 1, '5 VMs are being moved in the cluster, as many as may be at once; it is next in the queue.'],
  [
    { what: 'outbound', node: 'a' },
    3,
    '2 VMs are being moved away from a, as many as may be at once; it is number 3 in the queue.',
  ],
  [
    { what: 'inbound', node: 'b' },
    5,
    '2 VMs are being moved to b, as many as may be at once; it is number 5 in the queue.',
  ],
  [
    { what: 'inbound', node: 'b' },
    6,
    '2 VMs are being moved to b, as many as may be at once; it is behind 5 or more others in the queue.',
  ],
  [
    { what: 'inbound', node: 'b' },
    70,
    '2 VMs are being moved to b, as many as may be at once; it is behind 50 or more others in the queue.',
  ],
])('%j, place %i: %s', (scarce, place, sentence) => {
  expect(describeWaiting({ for: scarce, place }, defaultMigrationLimits)).toBe(sentence);
});
