import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { checkout } from '../../dev/cache.ts';
import { canCutCables } from './can-cut.ts';
import { report } from './report.ts';
import { scenario } from './scenario.ts';
import { runSeries } from './series.ts';

/** The run under way when this is over still has to end, and a cluster to start and to end. */
const minutes = 5;
const atMost = 200;
/** Longer faults are left to the whole series. */
const longestFault = 4_000;

/** A part of what `npm run chaos` does, another one each time. */
test('whatever breaks, the guest runs once, the migration ends, and the object says the truth', {
  timeout: 8 * 60_000,
}, async () => {
  const seed = Number(process.env.CHAOS_SEED ?? randomInt(1, 1_000_000));
  console.log(`chaos with seed ${seed}; again: CHAOS_SEED=${seed}, or npm run chaos -- --seed ${seed} --only N`);
  const lines: string[] = [];
  const results = await runSeries({
    scenarios: Array.from({ length: atMost }, (_, number) => scenario(seed, number)).filter(
      ({ fault }) => fault.durationMilliseconds <= longestFault,
    ),
    isCuttable: await canCutCables(console.log),
    folder: join(checkout, 'chaos-results'),
    endAt: performance.now() + minutes * 60_000,
    say: (line) => lines.push(line),
  });
  const failed = results.filter(({ complaints }) => complaints.length > 0);
  if (failed.length > 0) console.log(lines.join('\n'));
  console.log(report(results));
  expect(results.length).toBeGreaterThan(10);
  expect(failed.map(({ scenario: { number }, complaints }) => ({ number, complaints }))).toEqual([]);
});
