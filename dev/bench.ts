/**
 * `npm run bench`: the same guest moved by bare QMP and by vmferry, in turn. `-- --runs N` (10), `--profile idle|dirty|large`
 * (all), `--out FILE` for everything that was measured (bench-results/bench.json). What it finds is a report, not a test: machines differ.
 */
import { spawnSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import type { Comparison } from '../test/bench/bounds.ts';
import { compare } from '../test/bench/compare.ts';
import { type ProfileName, profiles } from '../test/bench/profile.ts';
import { report } from '../test/bench/report.ts';
import { System } from '../test/e2e/system.ts';
import { ensureQemu } from './prerequisites.ts';

const { values: flags } = parseArgs({
  options: {
    runs: { type: 'string', default: '10' },
    profile: { type: 'string' },
    out: { type: 'string', default: 'bench-results/bench.json' },
  },
});
const say = (line = '') => console.log(line);

function chosenProfiles(): ProfileName[] {
  const all = Object.keys(profiles) as ProfileName[];
  const chosen = all.filter((name) => flags.profile === undefined || name === flags.profile);
  if (chosen.length === 0) throw new Error(`--profile is one of ${all.join(', ')}`);
  return chosen;
}

function describeMachine() {
  const [version = ''] = spawnSync('qemu-system-x86_64', ['--version'], { encoding: 'utf8' }).stdout.split('\n');
  const [cpu] = cpus();
  const [load = 0] = loadavg();
  return { qemu: version, accelerator: 'tcg', node: process.version, cpu: cpu?.model, cpus: cpus().length, load };
}

async function bench(): Promise<void> {
  const names = chosenProfiles();
  const runs = Number(flags.runs);
  if (!Number.isInteger(runs) || runs < 1) throw new Error('--runs is a whole number');
  await mkdir(dirname(flags.out), { recursive: true });
  await ensureQemu(say);
  const machine = describeMachine();
  say(`${machine.cpus} CPUs, load ${machine.load.toFixed(1)} before the start; ${machine.qemu}`);
  if (machine.load > 0.5) say('This machine is busy with other things: the figures will not be those of a quiet one.');
  await using system = await System.start({ network: 'namespaces', log: say });
  const comparisons: Partial<Record<ProfileName, Comparison>> = {};
  for (const name of names) {
    comparisons[name] = await compare(system, name, runs, say);
    await writeFile(flags.out, `${JSON.stringify({ machine, runs, profiles: comparisons }, null, 2)}\n`);
  }
  for (const [name, comparison] of Object.entries(comparisons)) say(`\n${report(name as ProfileName, comparison)}`);
  say(`\nEverything measured: ${flags.out}`);
}

try {
  await bench();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
