import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { at, begun, facts, type Status, sending } from '../../migration/controller-examples.testing.ts';
import { countMigrations, createMigrationMetrics } from './metrics.ts';

async function samples(registry: Registry): Promise<string[]> {
  return (await registry.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

const timeline = [
  { phase: 'Scheduling', at: at(0) },
  { phase: 'Checking', at: at(500) },
];
const checking: Status = { ...begun, phase: 'Checking', timeline };
const transferring: Status = {
  ...sending,
  timeline: [...timeline, { phase: 'Transferring', at: at(700) }],
};
const succeeded: Status = {
  ...transferring,
  phase: 'Succeeded',
  reason: 'Migrated',
  downtimeMilliseconds: 40,
  timeline: [...(transferring.timeline ?? []), { phase: 'Succeeded', at: at(2_700) }],
};

test('each phase, the end and the pause are counted once, whatever is written again', async () => {
  const registry = new Registry();
  const metrics = createMigrationMetrics(registry);
  const story: Status[] = [
    { ...begun, timeline: timeline.slice(0, 1) },
    checking,
    { ...checking, message: 'again' },
    transferring,
    succeeded,
    { ...succeeded, message: 'cleaned' },
  ];
  for (const [index, status] of story.entries()) metrics.observe(story[index - 1], status);
  const lines = await samples(registry);
  expect(lines).toEqual(
    expect.arrayContaining([
      'vmferry_migrations_total{result="Succeeded",reason="Migrated"} 1',
      'vmferry_migration_duration_seconds_sum{result="Succeeded"} 2.7',
      'vmferry_migration_phase_duration_seconds_sum{phase="Scheduling"} 0.5',
      'vmferry_migration_phase_duration_seconds_sum{phase="Checking"} 0.2',
      'vmferry_migration_phase_duration_seconds_sum{phase="Transferring"} 2',
      'vmferry_migration_phase_duration_seconds_count{phase="Transferring"} 1',
      'vmferry_migration_downtime_seconds_sum 0.04',
      'vmferry_migration_downtime_seconds_count 1',
    ]),
  );
  expect(lines.join('\n')).not.toContain('phase="Succeeded"');
});

test('a controller that comes in the middle counts what it sees', async () => {
  const registry = new Registry();
  const metrics = createMigrationMetrics(registry);
  metrics.observe(transferring, succeeded);
  expect(await samples(registry)).toContain('vmferry_migration_phase_duration_seconds_sum{phase="Transferring"} 2');
  expect((await samples(registry)).join('\n')).not.toContain('phase="Checking"');
});

test('a reason that is in no catalogue makes no series of its own', async () => {
  const registry = new Registry();
  createMigrationMetrics(registry).observe(transferring, { ...succeeded, phase: 'Failed', reason: 'x'.repeat(64) });
  expect(await samples(registry)).toContain('vmferry_migrations_total{result="Failed",reason="Other"} 1');
});

test('migrations are counted by phase as they are', async () => {
  const registry = new Registry();
  let list = [undefined, sending, sending].map((status) => facts(status === undefined ? {} : { status }).migration);
  countMigrations(registry, () => list);
  expect(await samples(registry)).toEqual([
    'vmferry_migrations{phase="Pending"} 1',
    'vmferry_migrations{phase="Transferring"} 2',
  ]);
  list = [];
  expect(await samples(registry)).toEqual([]);
});
