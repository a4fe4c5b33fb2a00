/** What the controller tells Prometheus of migrations. No label names a VM: there may be any number of them. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { VirtualMachineMigration } from '../../api/objects.ts';
import { isTerminal } from '../../api/phases.ts';
import { migrationReasons } from '../../api/reasons.ts';

type Status = NonNullable<VirtualMachineMigration['status']>;

export interface MigrationMetrics {
  /** Takes note of a status that was saved. */
  observe(before: Status | undefined, after: Status): void;
}

/** In seconds: a small VM over a fast network; a large one that is written to. */
const durations = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400];
/** In seconds: what nobody notices; what breaks TCP connections. */
const downtimes = [0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30];

export function createMigrationMetrics(registry: Registry): MigrationMetrics {
  const registers = [registry];
  const ended = new Counter({
    name: 'vmferry_migrations_total',
    help: 'How many migrations have ended, by result and reason.',
    labelNames: ['result', 'reason'] as const,
    registers,
  });
  const duration = new Histogram({
    name: 'vmferry_migration_duration_seconds',
    help: 'From the first phase of a migration to its end, by result.',
    labelNames: ['result'] as const,
    buckets: durations,
    registers,
  });
  const phaseDuration = new Histogram({
    name: 'vmferry_migration_phase_duration_seconds',
    help: 'How long a migration was in each phase.',
    labelNames: ['phase'] as const,
    buckets: durations,
    registers,
  });
  const downtime = new Histogram({
    name: 'vmferry_migration_downtime_seconds',
    help: "The guest's measured pause.",
    buckets: downtimes,
    registers,
  });
  return {
    observe(before, after) {
      for (const { phase, seconds } of phasesLeft(before, after)) phaseDuration.observe({ phase }, seconds);
      const { downtimeMilliseconds } = after;
      if (downtimeMilliseconds !== undefined && before?.downtimeMilliseconds === undefined)
        downtime.observe(downtimeMilliseconds / 1000);
      const { phase: result, reason = '' } = after;
      if (result === undefined || !isTerminal(result) || isTerminal(before?.phase)) return;
      // Agents have a say in it: what is in no catalogue could be anything.
      ended.inc({ result, reason: reason in migrationReasons ? reason : 'Other' });
      const [first, last] = [after.timeline?.[0], after.timeline?.at(-1)];
      if (first !== undefined && last !== undefined) duration.observe({ result }, secondsBetween(first.at, last.at));
    },
  };
}

/** The phases that `after` has left and `before` had not. */
function phasesLeft(before: Status | undefined, after: Status): { phase: string; seconds: number }[] {
  const known = before?.timeline?.at(-1)?.at;
  const timeline = after.timeline ?? [];
  const news = timeline.slice(timeline.findLastIndex(({ at }) => at === known));
  return news
    .slice(0, -1)
    .map(({ phase, at }, index) => ({ phase, seconds: secondsBetween(at, news[index + 1]?.at ?? at) }));
}

function secondsBetween(from: string, to: string): number {
  return Math.max(0, Date.parse(to) - Date.parse(from)) / 1000;
}

/** For the leader alone, or each replica would count them all. */
export function countMigrations(registry: Registry, list: () => readonly VirtualMachineMigration[]): void {
  new Gauge({
    name: 'vmferry_migrations',
    help: 'How many migrations there are, by phase.',
    labelNames: ['phase'] as const,
    registers: [registry],
    collect() {
      this.reset();
      for (const [phase, { length }] of Map.groupBy(list(), ({ status }) => status?.phase ?? 'Pending').entries())
        this.set({ phase }, length);
    },
  });
}
