/** How long a migration takes from `kubectl apply` to `Succeeded`, and where the time goes. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { labels } from '../../../src/api/labels.ts';
import { type VirtualMachineMigration, virtualMachineMigrations } from '../../../src/api/objects.ts';
import { KubeClient } from '../../../src/kube/client.ts';
import { type Pod, pods } from '../../../src/kube/core-resources.ts';
import { Informer } from '../../../src/kube/informer.ts';
import { KubeTransport, loadKubeConfig } from '../../../src/kube/transport.ts';
import { MigrationDiary } from '../../bench/migration-diary.ts';
import { profiles } from '../../bench/profile.ts';
import { judged, median, spread, tell } from './measured.ts';
import { assertOneLife } from './one-life.ts';
import { partsOf, qemuStarted, qemuThere } from './parts.ts';
import { KindSystem } from './system.ts';

const runs = 7;
/** Of the median, in milliseconds, on a machine with little else to do. */
const bound = 3_000;
/** Whatever the machine does. */
const most = 10_000;

let system: KindSystem;
beforeAll(async () => {
  system = await KindSystem.start('pace');
  const { memory, guest } = profiles.idle;
  // A line a millisecond would keep what records them busier than the migration.
  const resources = { requests: { cpu: '500m' } };
  await system.startVirtualMachine('web', { ...guest, heartbeatMilliseconds: 10 }, { memory, resources });
});
afterAll(() => system?.[Symbol.asyncDispose]());

test('an idle guest of 256 MiB', async (context) => {
  const diaries: MigrationDiary['seen'][] = [];
  for (let run = 1; run <= runs; run += 1) diaries.push(await noted(`web-${run}`));
  const { moves } = await assertOneLife(system, 'web');
  expect(moves).toHaveLength(runs);
  const took = diaries.flatMap(({ succeeded }) => succeeded ?? []);
  expect(took).toHaveLength(runs);
  tell(
    context,
    `from when the migration was there until Succeeded: ${spread(took)}`,
    judged('its median', median(took), bound),
    'its parts, medians in ms:',
    ...partsOf(diaries),
    `the guest's own gaps, of which 0 to 10 ms are its heartbeat's: ${spread(moves.map((move) => move.gapMilliseconds))}`,
  );
  expect(median(took)).toBeLessThan(most);
});

/** Migrates and says when each step of it was seen. */
async function noted(name: string): Promise<MigrationDiary['seen']> {
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
  await system.until('its cleaning was seen', () => diary?.seen['source cleaned']);
  // The nodes of kind have the clock of the tests.
  const qemu = system.site.nodes && system.startOfQemu(status?.targetPod?.uid ?? '');
  if (qemu) {
    diary?.note(qemuStarted, qemu.startedAtMilliseconds);
    diary?.note(qemuThere, qemu.atMilliseconds);
  }
  return diary?.seen ?? {};
}
