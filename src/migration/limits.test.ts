import { expect, test } from 'vitest';
import { durationMilliseconds, limits } from './limits.ts';

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

test('each bound leaves room for what it waits for', () => {
  // An agent renews its lease every 10 s: one renewal that is late must not make it silent.
  expect(limits.agentSilent).toBeGreaterThan(2 * 10_000);
  // A pod is deleted only after its agent had its time, and owed only after the node had some, too.
  expect(limits.debt).toBeGreaterThan(limits.agentEndsQemu);
  // The path is asked for once a second: two answers may be late.
  expect(limits.handoverPath).toBeGreaterThanOrEqual(2 * 1_000);
  // The guest stands still in the handshake: at most 1.5 s, of which ending the target takes a part.
  expect(limits.inBandAnswer).toBeLessThan(1_500);
});
