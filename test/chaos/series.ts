/** Many runs on a few clusters, each of which is replaced when a run has left it in a state that the next should not begin with. */
import { Ground } from './ground.ts';
import { keepTrace, logSizes } from './kept-logs.ts';
import { type RunResult, runScenario } from './run.ts';
import { isOfNetwork, type Scenario, sentence } from './scenario.ts';

export interface SeriesOptions {
  readonly scenarios: Iterable<Scenario>;
  /** Else those with a fault of the network are left out. */
  readonly isCuttable: boolean;
  /** Where the traces and logs of failed runs are kept. */
  readonly folder: string;
  /** No run begins after this time; those under way are finished. */
  readonly endAt?: number;
  /** How many clusters there are side by side; 1 when absent. A run mostly waits. */
  readonly clusters?: number;
  readonly say: (line: string) => void;
}

export async function runSeries({ scenarios, clusters = 1, ...options }: SeriesOptions): Promise<RunResult[]> {
  const results: RunResult[] = [];
  // Who is free takes the next. The first cluster to stop (it is late, or something broke) stops the others, too, after their run.
  const queue = Iterator.from(scenarios);
  await Promise.all(Array.from({ length: clusters }, () => runOnOneCluster({ ...options, scenarios: queue }, results)));
  return results.sort((left, right) => left.scenario.number - right.scenario.number);
}

async function runOnOneCluster(options: Omit<SeriesOptions, 'clusters'>, results: RunResult[]): Promise<void> {
  const { scenarios, isCuttable, folder, endAt = Infinity, say } = options;
  let ground: Ground | undefined;
  try {
    for (const scenario of scenarios) {
      if (performance.now() > endAt) break;
      if (!isCuttable && isOfNetwork(scenario.fault)) continue;
      ground ??= await Ground.start(isCuttable, say);
      const sizes = logSizes(ground.system.cluster);
      const result = await runScenario(ground, scenario).catch((error: unknown) => broken(scenario, error));
      results.push(result);
      const isBad = result.complaints.length > 0;
      const lines = [progress(result)];
      if (isBad) {
        const kept = await keepTrace(ground.system, result, sizes, folder);
        const complaints = result.complaints.map(({ kind, text }) => `${kind}: ${text}`);
        lines.push(...[...complaints, sentence(scenario), `trace and logs: ${kept}`].map((line) => `    ${line}`));
      }
      say(lines.join('\n'));
      if (isBad || result.wasRestarted) ground = await refreshed(ground, result, say);
    }
  } finally {
    await ground?.[Symbol.asyncDispose]();
  }
}

/** The same cluster with another VM, if the former one goes; else none. */
async function refreshed(ground: Ground, { outcome }: RunResult, say: (line: string) => void) {
  try {
    // Nobody has ended its faults.
    if (outcome === brokenOff) throw new Error('the run broke off');
    await ground.replaceSubject();
    return ground;
  } catch (error) {
    say(`    a new cluster: ${error instanceof Error ? error.message : error}`);
    await ground[Symbol.asyncDispose]();
    return undefined;
  }
}

const brokenOff = 'broken off';

/** A run that the harness itself could not play to its end is no success. */
function broken(scenario: Scenario, error: unknown): RunResult {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return {
    scenario,
    outcome: brokenOff,
    hit: false,
    sawNeedsAttention: false,
    wasRestarted: false,
    complaints: [{ kind: 'not ended', text: `the run broke off: ${text}` }],
    seconds: 0,
    trace: [],
    migration: undefined,
  };
}

function progress({ scenario, outcome, hit, complaints, seconds, migration }: RunResult): string {
  const verdict = complaints.length === 0 ? 'ok  ' : 'FAIL';
  const { fault, moment, background, number, second } = scenario;
  const when = 'boundary' in moment ? moment.boundary : `${moment.randomMilliseconds} ms`;
  const why = outcome === 'Failed' ? ` (${migration?.status?.reason})` : '';
  const also = second ? `, ${second.fault.kind} ${second.fault.who}` : '';
  const what = `${fault.kind} ${fault.who} at ${when}${hit ? '' : ' (missed)'}${also}, ${background.kind}`;
  return `${verdict} ${String(number).padStart(4)}  ${seconds.toFixed(1).padStart(5)} s  ${what}: ${outcome}${why}`;
}
