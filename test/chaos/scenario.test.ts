import { expect, test } from 'vitest';
import { combinations, scenario, sentence } from './scenario.ts';

const first = combinations.map((_, number) => scenario(7, number));
const named = (kind: string, who: string, boundary: string) => `${kind} ${who} at ${boundary}`;

test('the first runs are every fault on every victim at every boundary, once', () => {
  const done = first.map(({ fault, moment }) =>
    named(fault.kind, fault.who, 'boundary' in moment ? moment.boundary : ''),
  );
  expect(new Set(done)).toEqual(new Set(combinations.map(({ kind, who, boundary }) => named(kind, who, boundary))));
  expect(done).toHaveLength(new Set(done).size);
});

test('a seed and a number say everything; another seed is another order', () => {
  expect(scenario(7, 400)).toEqual(scenario(7, 400));
  expect(sentence(scenario(8, 0))).not.toBe(sentence(scenario(7, 0)));
});

test('later runs also hit at random times', () => {
  const later = Array.from({ length: 100 }, (_, index) => scenario(7, combinations.length + index));
  const timed = later.filter(({ moment }) => 'randomMilliseconds' in moment);
  expect(timed.length).toBeGreaterThan(20);
  expect(timed.length).toBeLessThan(80);
});

test('every background occurs, and a rollback only where something makes the migration fail', () => {
  expect(new Set(first.map(({ background }) => background.kind))).toEqual(new Set(['success', 'failure', 'cancel']));
  const rollbacks = first.filter(({ moment }) => 'boundary' in moment && moment.boundary === 'RollingBack');
  expect(rollbacks.filter(({ background }) => background.kind === 'success')).toEqual([]);
});
