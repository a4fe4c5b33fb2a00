import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { summarize, type TransferReport, worthPublishing } from './progress.ts';

const ram = {
  total: 1_000_000,
  transferred: 400_000,
  remaining: 600_000,
  mbps: 8,
  pageSize: 4_096,
  dirtyPagesRate: 100,
  iteration: 2,
};

describe('summarize', () => {
  test("QEMU's figures in bytes and seconds", () => {
    expect(summarize({ ram, expectedDowntime: 250 }, undefined)).toEqual({
      mode: 'PreCopy',
      progress: '40%',
      progressPercent: 40,
      totalBytes: 1_000_000,
      transferredBytes: 400_000,
      remainingBytes: 600_000,
      bytesPerSecond: 1_000_000,
      dirtyBytesPerSecond: 409_600,
      iteration: 2,
      expectedDowntimeMilliseconds: 250,
      estimatedSecondsLeft: 2,
    });
  });

  test('a guest that writes faster than the link carries has no end in sight', () => {
    expect(summarize({ ram: { ...ram, dirtyPagesRate: 1_000 } }, undefined)).not.toHaveProperty('estimatedSecondsLeft');
  });

  test('before QEMU counts anything, what was known stays', () => {
    expect(summarize({}, undefined)).toBeUndefined();
    const before = summarize({ ram }, undefined);
    expect(summarize({}, before)).toBe(before);
  });

  test('progress never falls, and a transfer alone never reaches 100', () => {
    const report = fc.record({ total: fc.nat({ max: 1e9 }), remaining: fc.nat({ max: 2e9 }) });
    fc.assert(
      fc.property(fc.array(report, { minLength: 1 }), (passes) => {
        let previous: ReturnType<typeof summarize>;
        for (const pass of passes) {
          const next = summarize({ ram: { ...ram, ...pass } } satisfies TransferReport, previous);
          expect(next?.progressPercent).toBeGreaterThanOrEqual(previous?.progressPercent ?? 0);
          expect(next?.progressPercent).toBeLessThanOrEqual(99);
          previous = next;
        }
      }),
    );
  });
});

describe('worthPublishing', () => {
  const sent = (transferredBytes: number) => ({ totalBytes: 1_000, transferredBytes });
  const published = (at: number) => ({ summary: sent(100), at });

  test.each([
    { scenario: 'the first second is silent', current: 50, before: undefined, now: 999, worth: false },
    { scenario: 'then the first figures', current: 50, before: undefined, now: 1_000, worth: true },
    { scenario: 'each second at first', current: 110, before: published(2_000), now: 3_000, worth: true },
    { scenario: 'not more often', current: 500, before: published(2_000), now: 2_999, worth: false },
    { scenario: 'only what moved by one per cent', current: 109, before: published(2_000), now: 9_000, worth: false },
    { scenario: 'every five seconds later', current: 500, before: published(10_000), now: 14_999, worth: false },
    { scenario: 'and then again', current: 500, before: published(10_000), now: 15_000, worth: true },
  ])('$scenario', ({ current, before, now, worth }) => {
    expect(worthPublishing(sent(current), before, 0, now)).toBe(worth);
  });
});
