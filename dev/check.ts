/** `npm run check`: what can be said of the code without running it. */
import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { checkout } from './cache.ts';

const checks = {
  'types (tsc)': ['tsc', '--noEmit'],
  'format and lint (biome)': ['biome', 'ci', '--colors=off', '.'],
  'import directions (dependency-cruiser)': ['depcruise', 'src', 'dev', 'test'],
  'unused code (knip)': ['knip', '--no-progress'],
  'generated types are fresh': ['node', 'dev/generate-types.ts', '--check'],
} as const satisfies Record<string, readonly [string, ...string[]]>;

/** Runs all checks, prints one line for each and the findings of those that fail. */
export async function runChecks(): Promise<{ passed: number; failed: number }> {
  const programs = path.join(checkout, 'node_modules', '.bin');
  const env = { ...process.env, PATH: `${programs}:${process.env.PATH}`, NO_COLOR: '1' };
  let failed = 0;
  for (const [name, [program, ...args]] of Object.entries(checks)) {
    const findings = await promisify(execFile)(program, args, { cwd: checkout, env, maxBuffer: 64 * 1024 * 1024 }).then(
      () => undefined,
      (error: Error & { stdout?: string; stderr?: string }) =>
        `${error.stdout ?? ''}${error.stderr ?? ''}`.trim() || error.message,
    );
    console.log(`${findings === undefined ? ' ok  ' : 'FAIL '} ${name}`);
    if (findings === undefined) continue;
    console.log(findings.replace(/^/gm, '      '));
    failed += 1;
  }
  return { passed: Object.keys(checks).length - failed, failed };
}

if (import.meta.main) process.exitCode = (await runChecks()).failed > 0 ? 1 : 0;
