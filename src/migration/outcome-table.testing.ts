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
    follows:
      'The way forward; or the source is asked to give up, by its owner, a deadline, or because the target has ended.',
  },
  RollBack: {
    name: 'roll back',
    vm: 'at the source',
    follows: 'The target is removed. Then the next attempt, or `Failed` or `Cancelled`.',
  },
  AwaitTarget: {
    name: 'await target',
    vm: 'stands still, owned by the target',
    follows: 'The target continues it, within milliseconds. If nobody speaks for its node: `NeedsAttention`.',
  },
  AwaitTargetWord: {
    name: 'await target’s word',
    vm: 'down, or still at the source',
    follows:
      'Had the target run? Its agent says so, or has been back for 30 s without saying it, or the node is fenced: then it counts as *down at target*; or, if the source’s QEMU has ended too, nothing is moved.',
  },
  AwaitSource: {
    name: 'await source',
    vm: 'stands still at the source',
    follows:
      'The target never ran and never will. The source continues the guest. If nobody speaks for its node: `NeedsAttention`.',
  },
  AwaitSourceWord: {
    name: 'await source’s word',
    vm: 'down, or at the target',
    follows:
      'Had the source told the target? Its agent says so, or the target’s agent does, which is waited for in any case. If nobody speaks for either: `NeedsAttention`.',
  },
  Move: {
    name: 'move',
    vm: 'at the target',
    follows: 'Ownership moves, the source’s QEMU is ended, `Succeeded`.',
  },
  DownAtTarget: {
    name: 'down at target',
    vm: 'down',
    follows:
      'The newest memory was at the target and is lost. The older one at the source is ended, not continued. `Failed`, `TargetLostAfterHandover`; `restartPolicy` decides.',
  },
  DownAtSource: {
    name: 'down at source',
    vm: 'down',
    follows:
      'The newest memory was at the source and is lost. The target is ended. `Failed`, `SourceLost` or `GuestPoweredOff`; or `TargetLostAfterHandover`, if both have ended after the handover. `restartPolicy` decides.',
  },
  Contradiction: {
    name: 'contradiction',
    vm: 'unknown',
    follows: 'Cannot be. The target is stopped, nothing else is touched, `NeedsAttention`. Please report it.',
  },
};

/** Markdown: what follows from what both sides have said, and what each of these means. */
export function renderOutcomes(): string {
  const targets = Object.keys(targetSays) as TargetStanding[];
  const row = (cells: string[]) => `| ${cells.join(' | ')} |`;
  const rule = (columns: number) => `|${'---|'.repeat(columns)}`;
  const matrix = (Object.keys(sourceSays) as SourceStanding[]).map((source) =>
    row([sourceSays[source], ...targets.map((target) => meanings[outcomes[source][target]].name)]),
  );
  const legend = Object.values(meanings).map(({ name, vm, follows }) => row([name, vm, follows]));
  return [
    row(['source says ↓ target says →', ...targets.map((target) => targetSays[target])]),
    rule(targets.length + 1),
    ...matrix,
    '',
    row(['outcome', 'the VM is', 'what follows']),
    rule(3),
    ...legend,
  ].join('\n');
}
