/** `npm test`: everything that can be tested here. Ends with one line `N passed, N failed`. */
import { ensureGuest } from '../test/guest/guest.ts';
import { ensureClusterBinaries } from './build-cluster.ts';
import { runChecks } from './check.ts';
import { ensureNetworkTools, ensureQemu, MissingPrerequisite } from './prerequisites.ts';
import { showProgress } from './progress.ts';
import { type Counts, runVitest, summary } from './vitest-run.ts';

async function ensurePrerequisites(): Promise<Counts> {
  try {
    await ensureQemu(showProgress);
    await ensureNetworkTools(showProgress);
    await ensureClusterBinaries(showProgress);
    await ensureGuest(showProgress);
    return { passed: 0, failed: 0 };
  } catch (error) {
    // What a person has to install is said in its own sentence; anything else needs its stack.
    console.error(error instanceof MissingPrerequisite ? error.message : error);
    return { passed: 0, failed: 1 };
  }
}

// Interrupted, vitest ends its tests and then itself; this process stays until then, for the last line.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});

const results = [await ensurePrerequisites()];
if (results[0]?.failed === 0) {
  results.push(await runChecks());
  results.push((await runVitest(process.argv.slice(2))).counts);
}
const { line, exitCode } = summary(results);
console.log(line);
process.exitCode = exitCode;
