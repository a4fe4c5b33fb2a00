/**
 * `npm run model`: explores the three step functions in an abstract world to the end (see test/model/README.md), and prints what was
 * found. With `-- --variants`: shows that steps which are wrong on purpose are found out. With `-- --quick`: what `npm test` explores.
 */
import { quickConfigurations, thoroughConfigurations } from '../test/model/configurations.ts';
import { type Outcome, search, type Violation } from '../test/model/search.ts';
import { shippedSteps } from '../test/model/shipped-steps.ts';
import { wrongVariants } from '../test/model/wrong-variants.ts';

function exploreAll({ quick }: { quick: boolean }): boolean {
  const configurations = quick ? quickConfigurations : [...quickConfigurations, ...thoroughConfigurations];
  const sum = { states: 0, transitions: 0, seconds: 0 };
  let sound = true;
  for (const configuration of configurations) {
    const outcome = search(shippedSteps, configuration);
    sum.states += outcome.states;
    sum.transitions += outcome.transitions;
    sum.seconds += outcome.seconds;
    sound &&= outcome.complete && outcome.violations.length === 0;
    console.log(line(configuration.name, outcome));
    for (const violation of outcome.violations) console.log(told(violation));
  }
  console.log(`In all ${sum.states} states, ${sum.transitions} transitions, ${Math.round(sum.seconds)} s.`);
  return sound;
}

function line(name: string, { states, transitions, depth, seconds, complete, violations }: Outcome): string {
  const verdict = !complete ? 'NOT DONE' : violations.length > 0 ? 'VIOLATED' : 'ok      ';
  return `${verdict} ${name}: ${states} states, ${transitions} transitions, depth ${depth}, ${seconds.toFixed(1)} s`;
}

function told({ rule, trace }: Violation): string {
  const steps = trace.map((step, index) => `    ${String(index + 1).padStart(3)}  ${step}`);
  return [`  ${rule}`, ...steps].join('\n');
}

function showVariants(): boolean {
  let caught = 0;
  for (const { mistake, breaks, steps, configuration } of wrongVariants) {
    const { violations } = search({ ...shippedSteps, ...steps }, configuration, { first: true });
    const found = violations.find(({ rule }) => breaks.test(rule));
    if (found !== undefined) caught += 1;
    console.log(`${found === undefined ? 'MISSED' : 'caught'}  ${mistake}`);
    if (found !== undefined) console.log(told(found));
  }
  console.log(`${caught} of ${wrongVariants.length} wrong variants were caught.`);
  return caught === wrongVariants.length;
}

if (import.meta.main) {
  const arguments_ = process.argv.slice(2);
  const well = arguments_.includes('--variants')
    ? showVariants()
    : exploreAll({ quick: arguments_.includes('--quick') });
  process.exitCode = well ? 0 : 1;
}
