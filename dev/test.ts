/** `npm test`: everything that can be tested here. Ends with one line `N passed, N failed`. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ensureGuest } from '../test/guest/guest.ts';
import { ensureClusterBinaries } from './build-cluster.ts';
import { checkout } from './cache.ts';
import { runChecks } from './check.ts';
import { ensureNetworkTools, ensureQemu, MissingPrerequisite } from './prerequisites.ts';
import { showProgress } from './progress.ts';

interface Counts {
  passed: number;
  failed: number;
  skipped?: number;
}

/** What vitest's JSON reporter writes, as far as it is read here. */
interface VitestReport {
  success: boolean;
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  testResults: { status: string; assertionResults: { status: string }[] }[];
}

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

async function runVitest(args: string[]): Promise<Counts> {
  const folder = await mkdtemp(path.join(tmpdir(), 'vmferry-test-'));
  try {
    const file = path.join(folder, 'report.json');
    const options = ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
    const vitest = path.join(checkout, 'node_modules', 'vitest', 'vitest.mjs');
    const child = spawn(process.execPath, [vitest, ...options, ...args], { cwd: checkout, stdio: 'inherit' });
    const [code] = await once(child, 'exit');
    return count(code === 0, await readFile(file, 'utf8').catch(() => undefined));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Also counts what is no test but went wrong: a file that does not load, a hook, an error that nobody caught. */
function count(success: boolean, json: string | undefined): Counts {
  if (json === undefined) return { passed: 0, failed: 1 };
  const report = JSON.parse(json) as VitestReport;
  const brokenFiles = report.testResults.filter(
    (file) => file.status === 'failed' && file.assertionResults.every((test) => test.status !== 'failed'),
  );
  const failed = report.numFailedTests + brokenFiles.length;
  return {
    passed: report.numPassedTests,
    failed: failed === 0 && !success ? 1 : failed,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

// Interrupted, vitest ends its tests and then itself; this process stays until then, for the last line.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => {});

const results = [await ensurePrerequisites()];
if (results[0]?.failed === 0) results.push(await runChecks(), await runVitest(process.argv.slice(2)));
const sum = (key: keyof Counts) => results.reduce((total, counts) => total + (counts[key] ?? 0), 0);
const [passed, failed, skipped] = [sum('passed'), sum('failed'), sum('skipped')];
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
