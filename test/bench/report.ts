/** The comparison as text for people. */
import { type Comparison, judge } from './bounds.ts';
import { type Figures, type MetricName, metrics, type Summary, summarize, summarizeMetric } from './metric.ts';
import { type ProfileName, profiles } from './profile.ts';

const columns = [48, 26, 26] as const;

export function report(profile: ProfileName, comparison: Comparison): string {
  const { bare, vmferry } = comparison;
  const figures = vmferry.map((run) => run.figures);
  const names = (Object.keys(metrics) as MetricName[]).filter((name) => summarizeMetric(figures, name) !== undefined);
  return [
    `${profile}: ${profiles[profile].title}`,
    row(`median (least to most) of ${vmferry.length} runs each`, 'bare QMP', 'vmferry'),
    ...names.map((name) => row(named(name), cell(bare, name), cell(figures, name))),
    '',
    ...stepLines(comparison),
    '',
    ...writeLines(comparison),
    '',
    ...judge(profile, comparison).map(({ holds, text }) => `  ${holds ? 'holds ' : 'MISSED'}  ${text}`),
  ].join('\n');
}

function row(...cells: readonly string[]): string {
  return `  ${cells.map((text, index) => text.padEnd(columns[index] ?? 0)).join('')}`.trimEnd();
}

function named(name: MetricName): string {
  const { label, unit } = metrics[name];
  return unit === '' ? label : `${label}, ${unit}`;
}

function cell(runs: readonly Figures[], metric: MetricName): string {
  const summary = summarizeMetric(runs, metric);
  return summary === undefined ? '-' : text(summary);
}

function text({ median, min, max }: Summary): string {
  return `${rounded(median)} (${rounded(min)} to ${rounded(max)})`;
}

function rounded(value: number): string {
  return value.toFixed(Math.abs(value) < 100 ? 1 : 0);
}

/** When a watcher saw what, in the order of the medians: the way to where the time goes. */
function stepLines({ vmferry }: Comparison): string[] {
  const names = new Set(vmferry.flatMap(({ steps }) => Object.keys(steps)));
  const summaries = [...names].flatMap((name) => {
    const summary = summarize(vmferry.flatMap(({ steps }) => steps[name] ?? []));
    return summary === undefined ? [] : [{ name, summary }];
  });
  const sorted = summaries.toSorted((a, b) => a.summary.median - b.summary.median);
  return [row('seen after, ms', '', 'vmferry'), ...sorted.map(({ name, summary }) => row(name, '', text(summary)))];
}

/** Requests of all runs together, by the mean. */
function writeLines({ vmferry }: Comparison): string[] {
  const names = new Set(vmferry.flatMap(({ writes }) => Object.keys(writes)));
  const mean = (name: string) => vmferry.reduce((sum, { writes }) => sum + (writes[name] ?? 0), 0) / vmferry.length;
  const sorted = [...names].map((name) => ({ name, count: mean(name) })).toSorted((a, b) => b.count - a.count);
  return [
    row('API writes, mean of a migration', '', 'vmferry'),
    ...sorted.map(({ name, count }) => row(name, '', count.toFixed(1))),
  ];
}
