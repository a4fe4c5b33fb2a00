import { expect, it } from 'vitest';
import { type Condition, setCondition } from './conditions.ts';

const ready: Condition = {
  type: 'Ready',
  status: 'False',
  reason: 'Starting',
  message: 'The guest is starting.',
  lastTransitionTime: '2026-01-01T00:00:00Z',
  observedGeneration: 1,
};
const other: Condition = { ...ready, type: 'Paused' };
const now = '2026-01-02T00:00:00Z';
const { lastTransitionTime: _, ...wanted } = ready;

it('adds a condition that was not there, stamped with now', () => {
  expect(setCondition(undefined, wanted, now)).toEqual([{ ...wanted, lastTransitionTime: now }]);
});

it('moves the transition time when the status changes, and leaves the others and the order alone', () => {
  const before = [ready, other];
  const after = setCondition(before, { ...wanted, status: 'True', reason: 'Running' }, now);
  expect(after).toEqual([{ ...ready, status: 'True', reason: 'Running', lastTransitionTime: now }, other]);
  expect(before[0]).toBe(ready);
});

it('keeps the transition time when only reason, message or generation change', () => {
  const changed = { ...wanted, reason: 'Waiting', message: 'No node yet.', observedGeneration: 2 };
  const after = setCondition([ready], changed, now);
  expect(after).toEqual([{ ...changed, lastTransitionTime: ready.lastTransitionTime }]);
});

it('returns the same array when nothing changes', () => {
  const before = [other, ready];
  expect(setCondition(before, wanted, now)).toBe(before);
});
