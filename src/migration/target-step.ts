/**
 * What the target's agent does next. It runs the guest only after the source's agent has told that the source is complete, and
 * ends its QEMU only as long as it has not run the guest; each of the two is noted before it is done, and excludes the other.
 */

import type { Cause } from './cause.ts';
import type { FinalWord, SourceGone, SourceVerdict, TargetVerdict } from './evidence.ts';

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
  /** The source agent's final word on this attempt, from the object or heard directly. */
  sourceWord?: FinalWord<SourceVerdict>;
  /** Whether the guest ran when the transfer began. */
  resumeTarget: boolean;
  sourceGone?: SourceGone;
  /** Nobody can ever tell this QEMU to run: the attempt was given up before it was approved, or the migration is over or gone. */
  abandoned: boolean;
  /** The source's agent asks this one to give the attempt up. */
  refusalAsked?: Cause;
  /** Where the pod can be reached; unknown until the node has reported it. */
  address?: string;
  /** The stream may be listened for: unencrypted, or with the source's certificate at hand. */
  mayListen: boolean;
  published: { endpoint: boolean; verdict?: TargetVerdict };
  /** `tidied`: nothing of the attempt is left in QEMU. */
  journal: { continued: boolean; refused?: Cause | true; tidied: boolean };
  qemu: TargetQemu;
}

/** This agent has noted that it continues the guest, or has continued it. */
type Continued = 'Continued';

/** In the order in which they are carried out. What cannot be undone says what it rests on. */
export type TargetEffect =
  | { kind: 'listen'; address: string }
  | { kind: 'publishReady'; endpoint: { host: string; port: number } }
  | { kind: 'recordContinued'; because: FinalWord<'Completed'> }
  | { kind: 'continueGuest'; because: FinalWord<'Completed'> | Continued }
  /** Refused by the state directory when `continued` is there. */
  | { kind: 'recordRefused'; cause?: Cause }
  /** `now`: without asking it first, because a guest stands still for it. */
  | { kind: 'endQemu'; now: boolean }
  | { kind: 'removeTraces' }
  /** The source says that it runs the guest, which cannot be: one of the two has to stop. */
  | { kind: 'stopGuest' }
  | { kind: 'publishVerdict'; verdict: TargetVerdict; cause?: Cause };

export interface TargetStep {
  effects: TargetEffect[];
  /** Look again after so many milliseconds, when nothing else happens before. */
  lookAgainAfter?: number;
}

const nothing: TargetStep = { effects: [] };
const one = (effect: TargetEffect): TargetStep => ({ effects: [effect] });

export function targetStep(facts: TargetFacts): TargetStep {
  const { published, journal, qemu, sourceWord } = facts;
  if (journal.continued) return afterContinued(facts);
  if (journal.refused !== undefined) return afterRefused(journal.refused, facts);
  if (published.verdict !== undefined) return nothing;
  if (qemu.presence === 'gone') return one({ kind: 'publishVerdict', verdict: 'Gone' });
  if (neverToRun(facts)) return one({ kind: 'recordRefused' });
  if (facts.refusalAsked !== undefined && sourceWord !== 'Completed')
    return one({ kind: 'recordRefused', cause: facts.refusalAsked });
  // A QEMU that starts has a process first, and answers a moment later: everybody waits for it.
  if (qemu.presence !== 'present')
    return { effects: [], lookAgainAfter: published.endpoint && sourceWord !== 'Completed' ? 500 : 10 };
  // An incoming migration that failed cannot be repeated in the same process.
  if (qemu.migration === 'failed') return one({ kind: 'recordRefused', cause: failedToLoad(qemu.error) });
  if (qemu.migration === 'postcopy-paused' && facts.sourceGone !== undefined) return one({ kind: 'recordRefused' });
  if (sourceWord === 'Completed') return takeOver(sourceWord, qemu, facts.resumeTarget);
  if (published.endpoint || facts.address === undefined || !facts.mayListen) return nothing;
  return qemu.port === undefined
    ? one({ kind: 'listen', address: facts.address })
    : one({ kind: 'publishReady', endpoint: { host: facts.address, port: qemu.port } });
}

/** The source's own word outlives its QEMU: once it is Completed, the only copy left is this one. */
function neverToRun({ sourceWord, sourceGone, abandoned }: TargetFacts): boolean {
  if (sourceWord === 'Completed') return false;
  return sourceWord !== undefined || sourceGone !== undefined || abandoned;
}

function failedToLoad(error: string | undefined): Cause {
  const said = error === undefined ? '' : `: ${error}`;
  return { reason: 'TransferFailed', message: `The target QEMU could not load the guest's state${said}.` };
}

type PresentQemu = Extract<TargetQemu, { presence: 'present' }>;

/**
 * `cont` during `inmigrate` is accepted by QEMU and means "run as soon as you can", also with half the memory: it is sent only
 * when QEMU is complete (or, in post-copy, fit to run) and paused.
 */
function takeOver(because: FinalWord<'Completed'>, qemu: PresentQemu, resumeTarget: boolean): TargetStep {
  const complete = qemu.migration === 'completed' || qemu.migration === 'postcopy-active';
  if (!complete || qemu.runState === 'inmigrate') return { effects: [], lookAgainAfter: 1 };
  return {
    effects: [
      { kind: 'recordContinued', because },
      ...(resumeTarget ? [{ kind: 'continueGuest', because } as const] : []),
    ],
  };
}

function afterContinued(facts: TargetFacts): TargetStep {
  const { qemu, resumeTarget, published, journal, sourceWord, sourceGone } = facts;
  if (qemu.presence === 'gone')
    return published.verdict === undefined ? one({ kind: 'publishVerdict', verdict: 'Lost' }) : nothing;
  if (qemu.presence !== 'present')
    return published.verdict === undefined ? { effects: [], lookAgainAfter: 100 } : nothing;
  const contradicted = sourceWord === 'Aborted' || sourceWord === 'Resumed';
  if (contradicted) return qemu.runState === 'running' ? one({ kind: 'stopGuest' }) : nothing;
  if (published.verdict !== undefined)
    return journal.tidied ? nothing : { effects: [{ kind: 'removeTraces' }], lookAgainAfter: 1_000 };
  if (qemu.migration.startsWith('postcopy-') && sourceGone !== undefined) {
    // Memory that never came is lost with the source.
    return { effects: [{ kind: 'endQemu', now: true }], lookAgainAfter: 100 };
  }
  // `paused` is the state in which QEMU left it after loading: `cont` has not arrived yet.
  if (resumeTarget && qemu.runState === 'paused')
    return { effects: [{ kind: 'continueGuest', because: 'Continued' }], lookAgainAfter: 50 };
  if (qemu.migration.startsWith('postcopy-')) return { effects: [], lookAgainAfter: 100 };
  // In this order: the source's agent waits for the word.
  const took: TargetEffect = { kind: 'publishVerdict', verdict: 'TookOver' };
  return { effects: [took, ...(journal.tidied ? [] : [{ kind: 'removeTraces' } as const])] };
}

function afterRefused(refused: Cause | true, { qemu, published }: TargetFacts): TargetStep {
  const because = refused === true ? undefined : refused;
  if (qemu.presence === 'present' || qemu.presence === 'unknown')
    return { effects: [{ kind: 'endQemu', now: because?.reason === 'TargetNotAnswering' }], lookAgainAfter: 200 };
  if (published.verdict !== undefined) return nothing;
  const cause = because ?? (qemu.presence === 'gone' ? undefined : neverStarted);
  return one({ kind: 'publishVerdict', verdict: 'Refused', ...(cause === undefined ? {} : { cause }) });
}

const neverStarted: Cause = {
  reason: 'RollingBack',
  message: 'The target QEMU had not started; it would be ended if it did.',
};
