import { describe, expect, test } from 'vitest';
import { overdue, type TransferClock } from './overdue.ts';

interface Given extends Partial<TransferClock> {
  /** Whether the API server answers. */
  api?: boolean;
}

/** A transfer that was issued at 0, and watched from then on. */
function reason(migration: string, now: number, { api = true, ...clock }: Given = {}): string | undefined {
  const watched = {
    watchedSince: 0,
    handshakeDone: true,
    timeoutMilliseconds: 60_000,
    ...(api ? { apiSince: 0 } : {}),
  };
  return overdue(migration, 0, { now, clock: { ...watched, ...clock } })?.reason;
}

describe('what is given up', () => {
  test.each<{ scenario: string; migration: string; at: number; clock?: Given; says: string }>([
    {
      scenario: 'it has taken longer than its owner allows',
      migration: 'active',
      at: 60_000,
      says: 'TransferTimedOut',
    },
    { scenario: 'QEMU does not get a connection', migration: 'setup', at: 10_000, says: 'TransferStuckInSetup' },
    {
      scenario: 'no byte has been sent for half a minute',
      migration: 'active',
      at: 35_000,
      clock: { lastByteAt: 5_000 },
      says: 'TransferStalled',
    },
    { scenario: 'any state takes too long', migration: 'a state of next year', at: 60_000, says: 'TransferTimedOut' },
  ])('$scenario: $says', ({ migration, at, clock, says }) => {
    expect(reason(migration, at, clock)).toBeUndefined();
    expect(reason(migration, at + 1, clock)).toBe(says);
  });

  test('no byte is sent while the guest stands still for its last pages', () => {
    expect(reason('device', 35_001, { lastByteAt: 5_000 })).toBeDefined();
  });
});

describe('what does not count', () => {
  test.each<{ scenario: string; migration: string; now: number; clock: Given }>([
    {
      scenario: "the owner's time while the API server is away: nobody could have raised it",
      migration: 'active',
      now: 3_600_000,
      clock: { api: false, lastByteAt: 3_599_000 },
    },
    {
      scenario: "the owner's time before the API server came back",
      migration: 'active',
      now: 100_000,
      clock: { apiSince: 40_000, lastByteAt: 99_000 },
    },
    {
      scenario: 'the time before this agent watched: in setup',
      migration: 'setup',
      now: 20_000,
      clock: { watchedSince: 10_000 },
    },
    {
      scenario: 'the time before this agent watched: without a byte',
      migration: 'active',
      now: 50_000,
      clock: { watchedSince: 20_000, lastByteAt: 1_000 },
    },
    {
      scenario: 'the time before this agent watched: in all',
      migration: 'active',
      now: 70_000,
      clock: { watchedSince: 10_000, lastByteAt: 69_000 },
    },
    { scenario: 'bytes of which nothing is known yet', migration: 'active', now: 50_000, clock: {} },
  ])('$scenario', ({ migration, now, clock }) => {
    expect(reason(migration, now, clock)).toBeUndefined();
  });

  test('a QEMU that does not connect is given up without an API server, too', () => {
    expect(reason('setup', 10_001, { api: false })).toBe('TransferStuckInSetup');
  });
});
