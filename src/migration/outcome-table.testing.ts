/** The table of outcomes as `docs/safety.md` shows it. */
import { type Outcome, outcomes, type SourceStanding, type TargetStanding } from './outcome-table.ts';

const sourceSays: Record<SourceStanding, string> = {
  Undecided: 'nothing yet',
  Aborted: '`Aborted`',
  Told: '`Completed`',
  ToldAndEnded: '`Completed`, and its QEMU is gone',
  Resumed: '`Resumed`',
  Gone: '`Gone`',
  Ended: 'nothing, and its QEMU is gone',
};

const targetSays: Record<TargetStanding, string> = {
  Undecided: 'nothing yet',
  TookOver: '`TookOver`',
  Refused: '`Refused`',
  Gone: '`Gone`',
  Lost: '`Lost`',
  Ended: 'nothing, and its QEMU is gone',
};

const meanings: Record<Outcome, { name: string; vm: string; follows: string }> = {
  Proceed: {
    name: 'go on',
    vm: 'at the source',
    follows: 'The next step; or the source is asked to give up.',
  },
  RollBack: {
    name: 'roll back',
    vm: 'at the source',
    follows: 'The target is removed: next attempt, `Failed` or `Cancelled`.',
  },
  AwaitTarget: {
    name: 'await target',
    vm: 'standing still, the target’s',
    follows: 'The target continues it within milliseconds.',
  },
  AwaitTargetWord: {
    name: 'await target’s word',
    vm: 'down, or at the source',
    follows:
      'Had the target run? If its agent, back for 30 s, does not say, or the node is fenced: *down at target*; down unmoved if the source’s QEMU has ended too.',
  },
  AwaitSource: {
    name: 'await source',
    vm: 'standing still at the source',
    follows: 'The target never ran and never will: the source continues it.',
  },
  AwaitSourceWord: {
    name: 'await source’s word',
    vm: 'down, or at the target',
    follows: 'Had it told? Its agent has 30 s to say; then the target’s must.',
  },
  Move: {
    name: 'move',
    vm: 'at the target',
    follows: 'Ownership moves, the source’s QEMU is ended: `Succeeded`.',
  },
  DownAtTarget: {
    name: 'down at target',
    vm: 'down',
    follows: 'The newest memory is lost, the older is ended: `TargetLostAfterHandover`.',
  },
  DownAtSource: {
    name: 'down at source',
    vm: 'down',
    follows:
      'The newest memory is lost, the target is ended: `SourceLost`, `GuestPoweredOff`; `TargetLostAfterHandover` if both ended after the handover.',
  },
  Contradiction: {
    name: 'contradiction',
    vm: 'unknown',
    follows: 'Cannot be. The target is stopped, nothing else is touched.',
  },
};

/** Markdown: what follows from what both sides have said, and what each of these means. Words from which the same follows share a cell. */
export function renderOutcomes(): string {
  const sources = Object.keys(sourceSays) as SourceStanding[];
  const targets = Object.keys(targetSays) as TargetStanding[];
  const rows = alike(sources, (source) => targets.map((target) => outcomes[source][target]));
  const columns = alike(targets, (target) => sources.map((source) => outcomes[source][target]));
  const row = (cells: string[]) => `| ${cells.join(' | ')} |`;
  const rule = (columns: number) => `|${'---|'.repeat(columns)}`;
  const told = <Standing extends string>(says: Record<Standing, string>, group: readonly Standing[]) =>
    group.map((standing) => says[standing]).join(' or ');
  const matrix = rows.map(([source, ...others]) =>
    row([told(sourceSays, [source, ...others]), ...columns.map(([target]) => meanings[outcomes[source][target]].name)]),
  );
  const legend = Object.values(meanings).map(({ name, vm, follows }) => row([name, vm, follows]));
  return [
    row(['source says ↓ target says →', ...columns.map((group) => told(targetSays, group))]),
    rule(columns.length + 1),
    ...matrix,
    '',
    row(['outcome', 'the VM is', 'what follows']),
    rule(3),
    ...legend,
  ].join('\n');
}

function alike<Standing>(standings: readonly Standing[], follows: (standing: Standing) => Outcome[]) {
  return [...Map.groupBy(standings, (standing) => follows(standing).join()).values()] as [Standing, ...Standing[]][];
}
