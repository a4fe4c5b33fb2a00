/** How long a migration takes from `kubectl apply` to `Succeeded`, and where the time goes. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { labels } from '../../../src/api/labels.ts';
import { type VirtualMachineMigration, virtualMachineMigrations } from '../../../src/api/objects.ts';
import { KubeClient } from '../../../src/kube/client.ts';
import { type Pod, pods } from '../../../src/kube/core-resources.ts';
import { Informer } from '../../../src/kube/informer.ts';
import { KubeTransport, loadKubeConfig } from '../../../src/kube/transport.ts';
import { summarize } from '../../bench/metric.ts';
import { MigrationDiary } from '../../bench/migration-diary.ts';
import { profiles } from '../../bench/profile.ts';
import { assertOneLife } from './one-life.ts';
import { KindSystem } from './system.ts';

const runs = 5;
/** Generous: the nodes of kind share the processors of one machine. Milliseconds. */
const bound = 10_000;

let system: KindSystem;
beforeAll(async () => {
  system = await KindSystem.start('pace');
  const { memory, guest } = profiles.idle;
  // A line a millisecond would keep what records them busier than the migration.
  await system.startVirtualMachine('web', { ...guest, heartbeatMilliseconds: 10 }, { memory });
});
afterAll(() => system?.[Symbol.asyncDispose]());

test('an idle guest of 256 MiB', async () => {
  const diaries: Record<string, number>[] = [];
  for (let run = 1; run <= runs; run += 1) diaries.push(await noted(`web-${run}`));
  const { moves } = await assertOneLife(system, 'web');
  expect(moves).toHaveLength(runs);
  const steps = Object.keys(diaries[0] ?? {}).sort((a, b) => median(diaries, a) - median(diaries, b));
  const gaps = moves.map(({ gapMilliseconds }) => Math.round(gapMilliseconds));
  console.info(
    [
      `median of ${runs}, milliseconds since it was there`,
      ...steps.map((step) => `${String(Math.round(median(diaries, step))).padStart(6)}  ${step}`),
      `the guest's own gaps, of which 10 ms are its heartbeat's: ${gaps.join(', ')} ms`,
    ].join('\n'),
  );
  expect(median(diaries, 'succeeded')).toBeLessThan(bound);
});

function median(diaries: readonly Record<string, number>[], step: string): number {
  return summarize(diaries.flatMap((diary) => diary[step] ?? []))?.median ?? Number.NaN;
}

/** Migrates and says when each step of it was seen. */
async function noted(name: string): Promise<Record<string, number>> {
  await using transport = new KubeTransport(loadKubeConfig());
  const client = new KubeClient(transport);
  const options = { fieldSelector: `metadata.namespace=${system.namespace}` };
  await using migrations = new Informer<VirtualMachineMigration>(client, virtualMachineMigrations, options);
  await using targets = new Informer<Pod>(client, pods, { ...options, labelSelector: labels.migrationName });
  for (const informer of [migrations, targets]) informer.start();
  const patience = AbortSignal.timeout(30_000);
  await Promise.all([migrations.synced(patience), targets.synced(patience)]);
  let diary: MigrationDiary | undefined;
  migrations.onChange((_key, migration) => {
    if (migration?.metadata.name !== name) return;
    diary ??= new MigrationDiary();
    diary.observe(migration);
  });
  targets.onChange((_key, pod) => {
    if (pod?.metadata.labels?.[labels.migrationName] === name) diary?.observeTargetPod(pod);
  });
  await system.migrate(name, 'web');
  const { status } = await system.finished(name);
  expect(status, status?.message).toMatchObject({ phase: 'Succeeded' });
  diary?.note('source cleaned');
  return diary?.seen ?? {};
}
