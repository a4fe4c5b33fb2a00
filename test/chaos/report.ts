/** What a series found, as text for people. */
import type { RunResult } from './run.ts';
import { boundaries, type Scenario } from './scenario.ts';
import type { ComplaintKind } from './verdict.ts';

const outcomes = ['Succeeded', 'Failed', 'Cancelled', 'NeedsAttention', 'hangs'] as const;

const totals: Record<string, readonly ComplaintKind[]> = {
  'double runs': ['double run'],
  'lost guests': ['lost guest', 'bad memory'],
  'migrations that did not end': ['not ended'],
  leftovers: ['leftover'],
  'late handovers': ['late handover'],
  'untrue or wrong outcomes': ['untrue', 'not moved'],
};

export function report(results: readonly RunResult[]): string {
  const complaints = results.flatMap((result) => result.complaints.map(({ kind }) => kind));
  const failed = results.filter((result) => result.complaints.length > 0);
  const missed = results.filter(({ hit }) => !hit).length;
  return [
    'how the migrations ended, by fault and moment (S: Succeeded, F: Failed, C: Cancelled, N: went through NeedsAttention, h: hangs)',
    ...table(results),
    '',
    ...outcomes.map((outcome) => `${count(results, outcome).toString().padStart(6)} ${outcome}`),
    `${missed.toString().padStart(6)} in which the fault did not find its moment or its victim`,
    '',
    ...Object.entries(totals).map(([name, kinds]) => {
      return `${complaints
        .filter((kind) => kinds.includes(kind))
        .length.toString()
        .padStart(6)} ${name}`;
    }),
    `${results.length} runs, ${failed.length} failed${failed.length > 0 ? `: ${failed.map(({ scenario }) => scenario.number).join(', ')}` : ''}`,
  ].join('\n');
}

function table(results: readonly RunResult[]): string[] {
  const columns = [...boundaries, 'at random'];
  const rows = Map.groupBy(results, ({ scenario: { fault } }) => `${fault.kind} ${fault.who}`);
  const cells = [...rows]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([name, own]) => {
      const byMoment = Map.groupBy(own, ({ scenario }) => momentName(scenario));
      return [name, ...columns.map((column) => cell(byMoment.get(column) ?? []))];
    });
  const header = ['', ...columns];
  const widths = header.map((title, index) => Math.max(title.length, ...cells.map((row) => (row[index] ?? '').length)));
  return [header, ...cells].map((row) =>
    row
      .map((text, index) => text.padEnd(widths[index] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

const momentName = ({ moment }: Scenario): string => ('boundary' in moment ? moment.boundary : 'at random');

/** `3S 1F`, a fault that did not hit in brackets. */
function cell(results: readonly RunResult[]): string {
  const letters = results.map((result) => `${letter(result)}${result.hit ? '' : '?'}`);
  return [...Map.groupBy(letters, (text) => text)].map(([text, same]) => `${same.length}${text}`).join(' ');
}

function letter({ outcome, sawNeedsAttention }: RunResult): string {
  const ended = ({ Succeeded: 'S', Failed: 'F', Cancelled: 'C' } as Record<string, string>)[outcome] ?? 'h';
  return sawNeedsAttention ? `N${ended}` : ended;
}

function count(results: readonly RunResult[], outcome: (typeof outcomes)[number]): number {
  if (outcome === 'NeedsAttention') return results.filter(({ sawNeedsAttention }) => sawNeedsAttention).length;
  if (outcome === 'hangs') return results.filter((result) => letter(result).endsWith('h')).length;
  return results.filter((result) => result.outcome === outcome).length;
}
