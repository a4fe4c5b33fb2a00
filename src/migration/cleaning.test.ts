import { describe, expect, test } from 'vitest';
import { clean, isOwed } from './cleaning.ts';
import type { PodFacts } from './controller-facts.ts';
import { limits } from './limits.ts';

type Pod = Extract<PodFacts, { exists: true }>;

const running: Pod = {
  exists: true,
  name: 'web-m-1',
  uid: 'target-pod',
  resourceVersion: '7',
  nodeName: 'node-b',
  deleting: false,
  held: true,
  running: true,
};
const { nodeName: _, ...unplaced } = running;
const reference = { name: 'web-m-1', uid: 'target-pod', resourceVersion: '7' };
const ended = { terminated: { exitCode: 0 } };

describe('a losing pod', () => {
  test.each<{ scenario: string; pod: PodFacts; after?: number; does: 'deletePod' | 'releasePod' | 'nothing' }>([
    { scenario: 'is left to its agent at first', pod: running, does: 'nothing' },
    {
      scenario: 'is deleted when its agent does not end it',
      pod: running,
      after: limits.agentEndsQemu,
      does: 'deletePod',
    },
    { scenario: 'is deleted once', pod: { ...running, deleting: true }, after: 60_000, does: 'nothing' },
    { scenario: 'is let go when its node says that its QEMU ended', pod: { ...running, ...ended }, does: 'releasePod' },
    { scenario: 'is let go when its node was fenced', pod: { ...running, fenced: 'it is off' }, does: 'releasePod' },
    { scenario: 'is deleted at once when it was never placed', pod: unplaced, does: 'deletePod' },
    { scenario: 'is let go when it never can be placed', pod: { ...unplaced, deleting: true }, does: 'releasePod' },
    {
      scenario: 'is not let go for being deleted: its QEMU may live',
      pod: { ...running, deleting: true, running: false },
      after: 3_600_000,
      does: 'nothing',
    },
    {
      scenario: 'that was let go is waited for',
      pod: { ...running, ...ended, deleting: true, held: false },
      does: 'nothing',
    },
    { scenario: 'that is gone needs nothing', pod: { exists: false }, does: 'nothing' },
  ])('$scenario', ({ pod, after = 0, does }) => {
    expect(clean([pod], 0, after).effects).toEqual(does === 'nothing' ? [] : [{ kind: does, pod: reference }]);
  });
});

describe('waiting for it', () => {
  test('lasts until its agent has had its time, then until it becomes a debt', () => {
    expect(clean([running], 1_000, 1_000).lookAgainAfter).toBe(limits.agentEndsQemu);
    expect(clean([running], 1_000, 6_000).lookAgainAfter).toBe(limits.debt - 5_000);
    expect(clean([running], 1_000, 1_000 + limits.debt)).not.toHaveProperty('lookAgainAfter');
    expect(clean([{ exists: false }], 0, 0)).not.toHaveProperty('lookAgainAfter');
  });

  test('ends as a debt, named by what is left', () => {
    const cleaning = clean([{ exists: false }, running], 0, limits.debt);
    expect(cleaning.left).toEqual([running]);
    expect(isOwed(cleaning, 0, limits.debt)).toBe(true);
    expect(isOwed(cleaning, 0, limits.debt - 1)).toBe(false);
    expect(isOwed(clean([], 0, limits.debt), 0, limits.debt)).toBe(false);
  });
});
