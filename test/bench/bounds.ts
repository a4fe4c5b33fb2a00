/** What vmferry promises beside bare QMP, judged on the medians of one run on one machine. */
import type { FerriedRun } from './ferried-guest.ts';
import { type Figures, type MetricName, metrics, type Summary, summarizeMetric } from './metric.ts';
import type { ProfileName } from './profile.ts';

/** The runs of one profile. */
export interface Comparison {
  readonly bare: readonly Figures[];
  readonly vmferry: readonly FerriedRun[];
}

interface Bound {
  readonly metric: MetricName;
  readonly most: number;
  /** Counted from what bare QMP takes. */
  readonly overBare?: true;
  /** Every profile when absent. */
  readonly only?: ProfileName;
  /** What is judged; the median when absent. */
  readonly of?: keyof Summary;
}

const bounds: readonly Bound[] = [
  { metric: 'wall', most: 400, overBare: true, only: 'idle' },
  { metric: 'gap', most: 5, overBare: true, only: 'idle' },
  { metric: 'addedGap', most: 5, overBare: true },
  { metric: 'settled', most: 200 },
  { metric: 'issued', most: 500 },
  { metric: 'writes', most: 30 },
  { metric: 'agentRss', most: 100, of: 'max' },
  { metric: 'controllerRss', most: 120, of: 'max' },
];

export interface Verdict {
  readonly holds: boolean;
  readonly text: string;
}

export function judge(profile: ProfileName, { bare, vmferry }: Comparison): Verdict[] {
  const figures = vmferry.map((run) => run.figures);
  return bounds
    .filter(({ only }) => only === undefined || only === profile)
    .map(({ metric, most, overBare, of = 'median' }) => {
      const value = summarizeMetric(figures, metric)?.[of] ?? Number.NaN;
      const base = overBare ? (summarizeMetric(bare, metric)?.[of] ?? Number.NaN) : 0;
      const { label, unit } = metrics[metric];
      const amount = `${Math.round(value - base)} ${unit}`.trim();
      const text = `${label.trim()}: ${amount}${overBare ? ' over bare QMP' : ''} (${of}), bound ${most}`;
      return { holds: value - base <= most, text };
    });
}
