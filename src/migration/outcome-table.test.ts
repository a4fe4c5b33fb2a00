import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { facts } from './controller-examples.testing.ts';
import { renderOutcomes } from './outcome-table.testing.ts';
import { outcomes, type SourceStanding, sourceStanding, targetStanding } from './outcome-table.ts';

test('docs/safety.md shows this table', async () => {
  const path = new URL('../../docs/safety.md', import.meta.url);
  const page = await readFile(path, 'utf8');
  const between = /(<!-- outcomes: begin -->\n)[\s\S]*(\n<!-- outcomes: end -->)/;
  expect(page).toMatch(between);
  const fresh = page.replace(between, (_, begin: string, end: string) => `${begin}${renderOutcomes()}${end}`);
  const howToRefresh =
    'docs/safety.md is stale: npx vitest run src/migration/outcome-table.test.ts -u writes the table anew';
  await expect(fresh, howToRefresh).toMatchFileSnapshot(path.pathname);
});

describe('of the table', () => {
  const rows = Object.entries(outcomes) as [SourceStanding, (typeof outcomes)[SourceStanding]][];

  test('a target that has run is never rolled back, and one that never ran never takes the VM', () => {
    for (const [, row] of rows) {
      expect(['Move', 'Contradiction']).toContain(row.TookOver);
      expect(['DownAtTarget', 'Contradiction']).toContain(row.Lost);
      for (const never of [row.Refused, row.Gone]) expect(['Move', 'DownAtTarget', 'AwaitTarget']).not.toContain(never);
    }
  });

  test('a source that has given up, or runs again, keeps the VM', () => {
    for (const source of ['Aborted', 'Resumed'] as const)
      expect(new Set(Object.values(outcomes[source]))).toEqual(new Set(['RollBack', 'Contradiction']));
  });

  test('the VM is down at the source only when its QEMU is gone, and on a word or on the end of both', () => {
    for (const [source, row] of rows) {
      if (!Object.values(row).includes('DownAtSource')) continue;
      expect(['Gone', 'Ended', 'ToldAndEnded']).toContain(source);
    }
    expect(outcomes.Ended.Undecided).toBe('AwaitSourceWord');
    expect(outcomes.ToldAndEnded.Undecided).toBe('AwaitTarget');
  });
});

describe('standing', () => {
  const none = { exists: false } as const;
  const { sourcePod: running } = facts({});
  const { sourcePod: over } = facts({ source: { terminated: { exitCode: 0 } } });
  const { sourcePod: neverPlaced } = facts({ source: { nodeName: undefined, deleting: true } });

  test('its own word says more than its end', () => {
    expect(sourceStanding('Gone', running)).toBe('Gone');
    expect(sourceStanding('Aborted', over)).toBe('Aborted');
    expect(targetStanding('Refused', over)).toBe('Refused');
    expect(sourceStanding('Completed', running)).toBe('Told');
    expect(sourceStanding('Completed', over)).toBe('ToldAndEnded');
  });

  test('its end counts when it is proven, and a missing object proves nothing', () => {
    expect([sourceStanding(undefined, over), targetStanding(undefined, over)]).toEqual(['Ended', 'Ended']);
    expect([sourceStanding(undefined, none), targetStanding(undefined, none)]).toEqual(['Undecided', 'Undecided']);
    expect(targetStanding(undefined, { exists: false, fenced: 'it is off' })).toBe('Ended');
    expect(targetStanding(undefined, neverPlaced)).toBe('Undecided');
  });
});
