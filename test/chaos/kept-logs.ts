/** What is kept of a run that failed: its trace, the objects, and what every process logged meanwhile. */
import { readdirSync, statSync } from 'node:fs';
import { mkdir, open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cluster } from '../cluster/cluster.ts';
import type { System } from '../e2e/system.ts';
import type { RunResult } from './run.ts';
import { sentence } from './scenario.ts';

type Sizes = ReadonlyMap<string, number>;

/** To be taken before a run, so that only its own part of the logs is kept. */
export function logSizes({ directory }: Pick<Cluster, 'directory'>): Sizes {
  const folder = join(directory, 'logs');
  return new Map(readdirSync(folder).map((name) => [name, statSync(join(folder, name)).size]));
}

/** @returns the folder */
export async function keepTrace(system: System, result: RunResult, before: Sizes, root: string): Promise<string> {
  const { scenario, complaints, trace, migration } = result;
  const folder = join(root, `seed-${scenario.seed}-run-${scenario.number}`);
  await mkdir(folder, { recursive: true });
  const said = complaints.map(({ kind, text }) => `${kind}: ${text}`);
  const again = `npm run chaos -- --seed ${scenario.seed} --only ${scenario.number}`;
  const text = [sentence(scenario), again, '', ...said, '', ...trace, ''].join('\n');
  const objects = await system.cluster.kubectl('get', 'vm,vmm,pods', '-o', 'yaml').catch(String);
  await Promise.all([
    writeFile(join(folder, 'trace.txt'), text),
    writeFile(join(folder, 'migration.json'), `${JSON.stringify(migration, undefined, 2)}\n`),
    writeFile(join(folder, 'objects.yaml'), objects),
    ...readdirSync(join(system.cluster.directory, 'logs')).map((name) =>
      copyTail(join(system.cluster.directory, 'logs', name), join(folder, name), before.get(name) ?? 0),
    ),
  ]);
  return folder;
}

async function copyTail(from: string, to: string, offset: number): Promise<void> {
  await using file = await open(from);
  const { size } = await file.stat();
  // A log that was rotated meanwhile begins anew.
  const start = size < offset ? 0 : offset;
  const { buffer, bytesRead } = await file.read(Buffer.alloc(size - start), 0, size - start, start);
  await writeFile(to, buffer.subarray(0, bytesRead));
}
