/**
 * What the target's agent does next. It runs the guest only after the source's agent has told that the source is complete, and
 * ends its QEMU only as long as it has not run the guest; each of the two is noted before it is done, and excludes the other.
 */
import type { SourceVerdict, TargetVerdict } from './evidence.ts';
import type { Cause } from './source-step.ts';

export type TargetQemu =
  | { presence: 'notYet' | 'unknown' | 'gone' }
  | {
      presence: 'present';
      runState: string;
      /** Status of `query-migrate`; `none` when nobody has connected yet. */
      migration: string;
      error?: string;
      /** Where it listens; undefined before `migrate-incoming`. */
      port?: number;
    };

export interface TargetFacts {
  /** The source agent's final word on this attempt, and whether the guest ran when the transfer began. */
  sourceVerdict?: SourceVerdict;
  resumeTarget: boolean;
  /** The controller saw the source's QEMU end without a word. */
  sourceGone: boolean;
  /** Where the pod can be reached; unknown until the node has reported it. */
  address?: string;
  published: { endpoint: boolean; verdict?: TargetVerdict };
  journal: { continued: boolean; refused: boolean };
  qemu: TargetQemu;
}

export type TargetEffect =
  | { kind: 'listen'; address: string }
  | { kind: 'publishReady'; endpoint: { host: string; port: number } }
  | { kind: 'recordContinued' }
  | { kind: 'continueGuest' }
  | { kind: 'recordRefused' }
  | { kind: 'endQemu' }
  | { kind: 'publishVerdict'; verdict: TargetVerdict; cause?: Cause };

export interface TargetStep {
  effects: TargetEffect[];
  /** Look again after so many milliseconds, when nothing else happens before. */
  lookAgainAfter?: number;
}

const nothing: TargetStep = { effects: [] };
const one = (effect: TargetEffect): TargetStep => ({ effects: [effect] });

export function targetStep(facts: TargetFacts): TargetStep {
  const { published, journal, qemu, sourceVerdict } = facts;
  if (published.verdict === 'Refused' && qemu.presence === 'present')
    return { effects: [{ kind: 'endQemu' }], lookAgainAfter: 200 };
  if (published.verdict !== undefined) return nothing;
  if (journal.continued) return afterContinued(facts);
  if (journal.refused) return afterRefused(facts);
  if (qemu.presence === 'gone') return one({ kind: 'publishVerdict', verdict: 'Gone' });
  // The source's own word outlives its QEMU: once it is Completed, the only copy left is this one.
  if (sourceVerdict === 'Aborted' || (facts.sourceGone && sourceVerdict !== 'Completed'))
    return one({ kind: 'recordRefused' });
  // A QEMU that starts has a process first, and answers a moment later: everybody waits for it.
  if (qemu.presence !== 'present') return { effects: [], lookAgainAfter: published.endpoint ? 500 : 10 };
  // An incoming migration that failed cannot be repeated in the same process.
  if (qemu.migration === 'failed') return one({ kind: 'recordRefused' });
  if (sourceVerdict === 'Completed') return takeOver(qemu.runState, qemu.migration, facts.resumeTarget);
  if (published.endpoint || facts.address === undefined) return nothing;
  return qemu.port === undefined
    ? one({ kind: 'listen', address: facts.address })
    : one({ kind: 'publishReady', endpoint: { host: facts.address, port: qemu.port } });
}

/**
 * `cont` during `inmigrate` is accepted by QEMU and means "run as soon as you can", also with half the memory: it is sent only
 * when QEMU is complete and paused.
 */
function takeOver(runState: string, migration: string, resumeTarget: boolean): TargetStep {
  if (migration !== 'completed' || runState === 'inmigrate') return { effects: [], lookAgainAfter: 2 };
  return { effects: [{ kind: 'recordContinued' }, ...(resumeTarget ? [{ kind: 'continueGuest' } as const] : [])] };
}

function afterContinued({ qemu, resumeTarget }: TargetFacts): TargetStep {
  if (qemu.presence === 'gone') return one({ kind: 'publishVerdict', verdict: 'Lost' });
  if (qemu.presence !== 'present') return { effects: [], lookAgainAfter: 100 };
  // `paused` is the state in which QEMU left it after loading: `cont` has not arrived yet.
  if (resumeTarget && qemu.runState === 'paused') return { effects: [{ kind: 'continueGuest' }], lookAgainAfter: 50 };
  return one({ kind: 'publishVerdict', verdict: 'TookOver' });
}

function afterRefused({ qemu }: TargetFacts): TargetStep {
  if (qemu.presence === 'present' || qemu.presence === 'unknown')
    return { effects: [{ kind: 'endQemu' }], lookAgainAfter: 200 };
  const cause = qemu.presence === 'gone' ? undefined : neverStarted;
  return one({ kind: 'publishVerdict', verdict: 'Refused', ...(cause === undefined ? {} : { cause }) });
}

const neverStarted: Cause = {
  reason: 'RollingBack',
  message: 'The target QEMU had not started; it would be ended if it did.',
};
