/** What a failed case leaves for people: objects, events, and the words of every process that is concerned. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemNamespace } from '../../../src/api/labels.ts';
import type { Pod } from '../../../src/kube/core-resources.ts';
import { testNamespace } from './consoles.ts';
import { kubectl } from './site.ts';

const questions: Readonly<Record<string, readonly string[]>> = {
  'virtual-machines.yaml': ['get', 'vm,vmm', '-A', '-o', 'yaml'],
  'pods.yaml': ['get', 'pods', '-A', '-o', 'yaml'],
  'pods.txt': ['get', 'pods', '-A', '-o', 'wide'],
  'nodes.yaml': ['get', 'nodes', '-o', 'yaml'],
  'leases.yaml': ['get', 'leases', '-n', systemNamespace, '-o', 'yaml'],
  'events.txt': ['get', 'events', '-A', '--sort-by=.metadata.creationTimestamp'],
  'migrations.txt': ['describe', 'vmm', '-A'],
};

/** Writes what can still be had into a folder of the case's name; never fails itself. */
export async function keepEvidence(folder: string, caseName: string): Promise<void> {
  const target = join(folder, caseName.replace(/[^A-Za-z0-9]+/g, '-').slice(0, 100));
  await mkdir(target, { recursive: true });
  const keep = async (file: string, args: readonly string[]) =>
    writeFile(join(target, file), await kubectl(args).catch(String));
  await Promise.all(Object.entries(questions).map(([file, args]) => keep(file, args)));
  const { items } = JSON.parse(await kubectl(['get', 'pods', '-A', '-o', 'json'])) as { items: Pod[] };
  for (const { metadata, spec } of items.filter(isConcerned)) {
    const pod = ['logs', '-n', metadata.namespace ?? '', metadata.name ?? '', '--timestamps'];
    const name = `${metadata.namespace}.${metadata.name}.${spec.nodeName}`;
    await keep(`${name}.log`, pod);
    const before = await kubectl([...pod, '--previous']).catch(() => undefined);
    if (before !== undefined) await writeFile(join(target, `${name}.previous.log`), before);
  }
}

function isConcerned({ metadata }: Pod): boolean {
  const own = [systemNamespace, testNamespace].includes(metadata.namespace ?? '');
  return own || metadata.labels?.['vmferry.io/virtual-machine'] !== undefined;
}
