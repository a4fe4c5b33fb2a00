import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { migrationReasons } from './reasons.ts';

test('every reason is explained in docs/troubleshooting.md, with a cure, in the same words', async () => {
  const page = await readFile(new URL('../../docs/troubleshooting.md', import.meta.url), 'utf8');
  // Further down there are tables of other words.
  const [ofMigrations = ''] = page.split('\n## ');
  const rows = [...ofMigrations.matchAll(/^\| `(\w+)` \| (.+?) \| (.+?) \|$/gm)].map(([, reason, meaning, cure]) => ({
    reason,
    meaning,
    cure,
  }));
  expect(rows.map(({ reason, meaning }) => [reason, meaning])).toEqual(Object.entries(migrationReasons));
  expect(rows.filter(({ cure }) => !cure)).toEqual([]);
});
