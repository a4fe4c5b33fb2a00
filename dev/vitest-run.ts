import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { checkout } from './cache.ts';

export interface Counts {
  passed: number;
  failed: number;
  skipped?: number;
}

interface VitestCase {
  status: string;
  title: string;
  duration?: number | null;
  /** What the case itself has to say, for the report. */
  meta?: { measured?: string[] };
}

/** What vitest's JSON reporter writes, as far as it is read here. */
export interface VitestReport {
  success: boolean;
  numPassedTests: number;
  numFailedTests: number;
  numPendingTests: number;
  numTodoTests: number;
  testResults: { status: string; assertionResults: VitestCase[] }[];
}

/** Runs vitest, which shows what it does, and counts; the report is missing when it did not come to an end. */
export async function runVitest(
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<{ counts: Counts; report: VitestReport | undefined }> {
  const folder = await mkdtemp(path.join(tmpdir(), 'vmferry-test-'));
  try {
    const file = path.join(folder, 'report.json');
    const options = ['run', '--reporter=default', '--reporter=json', `--outputFile.json=${file}`];
    const vitest = path.join(checkout, 'node_modules', 'vitest', 'vitest.mjs');
    const child = spawn(process.execPath, [vitest, ...options, ...args], { cwd: checkout, env, stdio: 'inherit' });
    // It ends its tests and then itself. Ctrl-C in a terminal reaches it anyway.
    const forward = (signal: NodeJS.Signals) => (signal === 'SIGINT' && process.stdin.isTTY) || child.kill(signal);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, forward);
    const [code] = await once(child, 'exit');
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, forward);
    const json = await readFile(file, 'utf8').catch(() => undefined);
    const report = json === undefined ? undefined : (JSON.parse(json) as VitestReport);
    return { counts: count(code === 0, report), report };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Also counts what is no test but went wrong: a file that does not load, a hook, an error that nobody caught. */
function count(success: boolean, report: VitestReport | undefined): Counts {
  if (report === undefined) return { passed: 0, failed: 1 };
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

/** The plain last line of a run. */
export function summary(results: readonly Counts[]): { line: string; exitCode: number } {
  const sum = (key: keyof Counts) => results.reduce((total, counts) => total + (counts[key] ?? 0), 0);
  const [passed, failed, skipped] = [sum('passed'), sum('failed'), sum('skipped')];
  return {
    line: `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`,
    exitCode: failed > 0 || passed === 0 ? 1 : 0,
  };
}
