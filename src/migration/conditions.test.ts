import { expect, test } from 'vitest';
import { type ConditionChange, withCondition } from './conditions.ts';

const inProgress: ConditionChange = { status: 'Unknown', reason: 'InProgress', message: 'It is under way.' };
const begun = withCondition([], 'Finished', inProgress, 'then');

test('a new condition is added behind the others', () => {
  const both = withCondition(begun, 'Succeeded', inProgress, 'now');
  expect(both.map(({ type }) => type)).toEqual(['Finished', 'Succeeded']);
  expect(both[1]).toEqual({ type: 'Succeeded', ...inProgress, lastTransitionTime: 'now' });
});

test('an equal condition changes nothing, so that nothing is written', () => {
  expect(withCondition(begun, 'Finished', { ...inProgress }, 'now')).toBe(begun);
});

test('another reason keeps the time, another status does not', () => {
  const explained = withCondition(begun, 'Finished', { ...inProgress, reason: 'Waiting' }, 'now');
  expect(explained).toEqual([{ type: 'Finished', ...inProgress, reason: 'Waiting', lastTransitionTime: 'then' }]);
  const finished = withCondition(begun, 'Finished', { ...inProgress, status: 'True' }, 'now');
  expect(finished).toEqual([{ type: 'Finished', ...inProgress, status: 'True', lastTransitionTime: 'now' }]);
  expect(begun[0]?.status).toBe('Unknown');
});
