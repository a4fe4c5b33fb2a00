import { expect, test } from 'vitest';
import { durationMilliseconds } from './limits.ts';

test.each([
  ['300ms', 300],
  ['2s', 2_000],
  ['30m', 1_800_000],
  ['2h', 7_200_000],
  ['0s', 0],
])('%s is %i ms', (duration, milliseconds) => {
  expect(durationMilliseconds(duration)).toBe(milliseconds);
});

test.each(['', '5', 'ms', '1.5s', '-1s', '1h30m', '2 s', '1d'])('"%s" is no duration', (duration) => {
  expect(() => durationMilliseconds(duration)).toThrow('is not a duration');
});
