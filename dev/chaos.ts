/**
 * `npm run chaos`: migrations on real systems of three nodes, of which one part breaks in each run. `-- --runs N` (300), `--seed N`
 * (another each time), `--from N` (begin with that run), `--only N` (that run of the seed alone, with its trace), `--minutes M` (begin
 * no run after that), `--clusters N` (2, side by side), `--out FOLDER` for traces and logs of the runs that failed (chaos-results).
 * Ends with a report; the exit code is 1 when any run failed.
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { canCutCables } from '../test/chaos/can-cut.ts';
import { report } from '../test/chaos/report.ts';
import { combinations, type Scenario, scenario } from '../test/chaos/scenario.ts';
import { runSeries } from '../test/chaos/series.ts';
import { ensureNetworkTools, ensureQemu } from './prerequisites.ts';

const { values: flags } = parseArgs({
  options: {
    runs: { type: 'string', default: '300' },
    from: { type: 'string', default: '0' },
    seed: { type: 'string' },
    only: { type: 'string' },
    minutes: { type: 'string' },
    clusters: { type: 'string', default: '2' },
    out: { type: 'string', default: 'chaos-results' },
  },
});
const say = (line: string) => console.log(line);

function wholeNumber(name: 'runs' | 'from' | 'seed' | 'only' | 'minutes' | 'clusters'): number | undefined {
  const text = flags[name];
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text)) throw new Error(`--${name} is a whole number`);
  return Number(text);
}

function* scenarios(seed: number): Iterable<Scenario> {
  const only = wholeNumber('only');
  const from = only ?? wholeNumber('from') ?? 0;
  const runs = only === undefined ? (wholeNumber('runs') ?? 0) : 1;
  for (let number = from; number < from + runs; number += 1) yield scenario(seed, number);
}

async function chaos(): Promise<boolean> {
  const seed = wholeNumber('seed') ?? randomInt(1, 1_000_000);
  const minutes = wholeNumber('minutes');
  for (const ensure of [ensureQemu, ensureNetworkTools]) await ensure(say);
  say(`seed ${seed}; the first ${combinations.length} runs are every fault at every boundary, in the seed's order`);
  const results = await runSeries({
    scenarios: scenarios(seed),
    isCuttable: await canCutCables(say),
    folder: flags.out,
    clusters: flags.only === undefined ? (wholeNumber('clusters') ?? 1) : 1,
    ...(minutes !== undefined && { endAt: performance.now() + minutes * 60_000 }),
    say,
  });
  if (flags.only !== undefined) for (const line of results.flatMap(({ trace }) => trace)) say(line);
  say(`\nseed ${seed}: ${report(results)}`);
  return results.length > 0 && results.every(({ complaints }) => complaints.length === 0);
}

try {
  process.exitCode = (await chaos()) ? 0 : 1;
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
