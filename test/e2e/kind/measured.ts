/** Figures that a case leaves for the run's report. Machines differ: bounds are judged there, and fail no case. */
import type { TestContext } from 'vitest';
import { summarize } from '../../bench/metric.ts';

declare module 'vitest' {
  interface TaskMeta {
    /** Lines for people. */
    measured?: string[];
  }
}

export function tell({ task }: TestContext, ...lines: string[]): void {
  task.meta.measured = [...(task.meta.measured ?? []), ...lines];
}

export function median(values: readonly number[]): number {
  return summarize(values)?.median ?? Number.NaN;
}

/** Milliseconds: median, least, most and how many. */
export function spread(values: readonly number[]): string {
  const { median, min, max } = summarize(values) ?? { median: Number.NaN, min: Number.NaN, max: Number.NaN };
  return `${Math.round(median)} ms (${Math.round(min)} to ${Math.round(max)}, of ${values.length})`;
}

/** Of milliseconds. */
export function judged(what: string, value: number, most: number): string {
  return `${value <= most ? 'HOLDS ' : 'MISSED'} ${what}: ${Math.round(value)} ms, bound ${most} ms`;
}
