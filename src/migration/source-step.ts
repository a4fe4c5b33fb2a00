/**
 * What the source's agent does next. It alone decides an attempt: it says `Completed` (the target owns the guest) or `Aborted`
 * (the guest is back as it was); QEMU lets only one of the two become true. Cancel, deadlines and every other wish are requests
 * to it.
 */
import type { MigrationReason } from '../api/reasons.ts';
import type { SourceVerdict, TargetVerdict } from './evidence.ts';
import { limits } from './limits.ts';

export interface Cause {
  reason: MigrationReason;
  message: string;
}

export interface TransferLimits {
  maxDowntimeMilliseconds: number;
  /** 0 is unlimited. */
  maxBandwidthBytesPerSecond: number;
}

/** QEMU as the agent has just read it. `unknown`: there, but it did not answer; `gone`: it was there in this boot and is not any more. */
export type SourceQemu =
  | { presence: 'notYet' | 'unknown' | 'gone' }
  | {
      presence: 'present';
      runState: string;
      /** Status of `query-migrate`; `none` when nothing has ever been migrated. Not trusted without `stamped`. */
      migration: string;
      /** The attempt's stamp is in QEMU: `migration` speaks of this attempt, or `migrate` was about to be issued. */
      stamped: boolean;
      error?: string;
      /** What QEMU was last told; undefined before `migrate`. */
      limits?: TransferLimits;
    };

export interface SourceFacts {
  /** Milliseconds since the epoch, by this node's clock. */
  now: number;
  /** From the migration object. */
  plan?: { host: string; port: number };
  abort?: Cause;
  limits: TransferLimits;
  timeoutMilliseconds: number;
  ownerMoved: boolean;
  targetVerdict?: TargetVerdict;
  /** What this agent has published so far. */
  published: { preflight: boolean; verdict?: SourceVerdict; downtime: boolean };
  /** What this agent has written into its state directory. */
  journal: { issued?: { at: number; resumeTarget: boolean }; cancel?: Cause; told: boolean; aborted?: Cause };
  qemu: SourceQemu;
  /** Whether the target could be told right now. */
  handoverPathOpen: boolean;
  /** Measured from QEMU's STOP to the news that the target runs, in milliseconds; undefined while either is missing. */
  downtimeMilliseconds?: number;
}

export type SourceEffect =
  | { kind: 'publishPreflight' }
  | { kind: 'issueMigrate'; plan: { host: string; port: number }; limits: TransferLimits; resumeTarget: boolean }
  | { kind: 'applyLimits'; limits: TransferLimits }
  | { kind: 'recordCancel'; cause: Cause }
  | { kind: 'cancelTransfer' }
  | { kind: 'continueSwitchover' }
  | { kind: 'continueGuest' }
  | { kind: 'recordTold' }
  | { kind: 'recordAborted'; cause: Cause }
  | { kind: 'publishVerdict'; verdict: SourceVerdict; cause?: Cause }
  | { kind: 'publishDowntime'; milliseconds: number }
  | { kind: 'endQemu' };

export interface SourceStep {
  effects: SourceEffect[];
  /** Look again after so many milliseconds, when nothing else happens before. */
  lookAgainAfter?: number;
}

const nothing: SourceStep = { effects: [] };
const one = (effect: SourceEffect): SourceStep => ({ effects: [effect] });
/** QEMU's states change without an event now and then (a lost connection, an old QEMU): it is asked again. */
const poll: SourceStep = { effects: [], lookAgainAfter: 100 };

export function sourceStep(facts: SourceFacts): SourceStep {
  if (facts.journal.told) return afterTold(facts);
  if (facts.journal.aborted !== undefined) return afterAborted(facts.journal.aborted, facts);
  const { qemu } = facts;
  if (qemu.presence === 'gone')
    return facts.published.verdict === 'Gone' ? nothing : one({ kind: 'publishVerdict', verdict: 'Gone' });
  // Nothing was sent, and nothing will be: QEMU need not be asked.
  if (facts.journal.issued === undefined && facts.abort !== undefined)
    return one({ kind: 'recordAborted', cause: facts.abort });
  if (qemu.presence !== 'present') return { effects: [], lookAgainAfter: 500 };
  if (facts.journal.issued === undefined) return beforeMigrate(qemu.runState, facts);
  return whileMigrating(qemu, facts.journal.issued, facts);
}

function beforeMigrate(runState: string, facts: SourceFacts): SourceStep {
  if (!facts.published.preflight) return one({ kind: 'publishPreflight' });
  if (facts.plan === undefined) return nothing;
  return one({ kind: 'issueMigrate', plan: facts.plan, limits: facts.limits, resumeTarget: runsOnArrival(runState) });
}

/** A guest that its owner paused, or that stands still by itself (io-error, guest-panicked), is handed over as it is. */
function runsOnArrival(runState: string): boolean {
  return runState === 'running' || runState === 'suspended';
}

type PresentQemu = Extract<SourceQemu, { presence: 'present' }>;
type Issued = NonNullable<SourceFacts['journal']['issued']>;

function whileMigrating(qemu: PresentQemu, issued: Issued, facts: SourceFacts): SourceStep {
  if (!qemu.stamped || qemu.migration === 'none') return issueAgain(issued, facts);
  switch (qemu.migration) {
    case 'completed':
      return onCompleted(qemu, issued, facts);
    case 'failed':
    case 'cancelled':
      return onGivenUp(qemu, issued, facts);
    case 'cancelling':
    case 'failing':
      return poll;
    case 'pre-switchover':
      return atSwitchover(facts);
    default:
      // setup, active, device, and every state that a newer QEMU may know: it still runs.
      return inTransfer(qemu, issued, facts);
  }
}

/** The agent ended between its note and QEMU's: nothing has been sent. */
function issueAgain(issued: Issued, facts: SourceFacts): SourceStep {
  const cause = facts.journal.cancel ?? facts.abort;
  if (cause !== undefined) return one({ kind: 'recordAborted', cause });
  if (facts.plan === undefined) return nothing;
  return one({ kind: 'issueMigrate', plan: facts.plan, limits: facts.limits, resumeTarget: issued.resumeTarget });
}

function inTransfer(qemu: PresentQemu, issued: Issued, facts: SourceFacts): SourceStep {
  if (facts.journal.cancel !== undefined) return { effects: [{ kind: 'cancelTransfer' }], lookAgainAfter: 100 };
  const cause = facts.abort ?? overdue(qemu, issued, facts);
  if (cause !== undefined) return one({ kind: 'recordCancel', cause });
  if (qemu.limits !== undefined && !sameLimits(qemu.limits, facts.limits))
    return one({ kind: 'applyLimits', limits: facts.limits });
  return poll;
}

function sameLimits(left: TransferLimits, right: TransferLimits): boolean {
  return (
    left.maxDowntimeMilliseconds === right.maxDowntimeMilliseconds &&
    left.maxBandwidthBytesPerSecond === right.maxBandwidthBytesPerSecond
  );
}

function overdue(qemu: PresentQemu, issued: Issued, facts: SourceFacts): Cause | undefined {
  const age = facts.now - issued.at;
  if (age > facts.timeoutMilliseconds) {
    const seconds = Math.round(facts.timeoutMilliseconds / 1000);
    return {
      reason: 'TransferTimedOut',
      message: `The transfer did not end within ${seconds} s. Raise spec.transfer.timeout, spec.transfer.maxBandwidth or spec.transfer.maxDowntime.`,
    };
  }
  if (qemu.migration === 'setup' && age > limits.setup) {
    return {
      reason: 'TransferStuckInSetup',
      message: `QEMU did not begin to send within ${limits.setup / 1000} s. Can the source node reach the target's migration port?`,
    };
  }
  return undefined;
}

/** The guest stands still here: either the target can be told of the end, or the guest runs on now. */
function atSwitchover(facts: SourceFacts): SourceStep {
  if (facts.journal.cancel !== undefined) return { effects: [{ kind: 'cancelTransfer' }], lookAgainAfter: 100 };
  if (facts.abort !== undefined) return one({ kind: 'recordCancel', cause: facts.abort });
  if (facts.targetVerdict !== undefined) {
    const cause: Cause = {
      reason: 'TransferFailed',
      message: 'The target QEMU ended before the guest could be handed over.',
    };
    return one({ kind: 'recordCancel', cause });
  }
  if (!facts.handoverPathOpen) {
    const cause: Cause = {
      reason: 'HandoverPathLost',
      message:
        'The API server did not answer at the moment of the switchover, so the target could not have been told to take over.',
    };
    return one({ kind: 'recordCancel', cause });
  }
  return { effects: [{ kind: 'continueSwitchover' }], lookAgainAfter: 100 };
}

/** QEMU says `completed` a moment before it enters `postmigrate`; only both together mean that it will not run by itself. */
function onCompleted(qemu: PresentQemu, issued: Issued, facts: SourceFacts): SourceStep {
  if (qemu.runState === 'postmigrate') {
    return { effects: [{ kind: 'recordTold' }, { kind: 'publishVerdict', verdict: 'Completed' }] };
  }
  if (qemu.runState === 'finish-migrate') return { effects: [], lookAgainAfter: 5 };
  // The word of the migration by which the guest came here: the agent ended between the stamp and `migrate`.
  return issueAgain(issued, facts);
}

/** Not a guest's own state: QEMU is on its way back to it. */
const onTheWayBack = new Set(['finish-migrate', 'inmigrate']);

/** The attempt is over at the source, and the target was never told: the guest goes back to what it was. */
function onGivenUp(qemu: PresentQemu, issued: Issued, facts: SourceFacts): SourceStep {
  if (onTheWayBack.has(qemu.runState)) return { effects: [], lookAgainAfter: 20 };
  if (issued.resumeTarget && (qemu.runState === 'paused' || qemu.runState === 'postmigrate')) {
    return { effects: [{ kind: 'continueGuest' }], lookAgainAfter: 20 };
  }
  const cause = facts.journal.cancel ?? facts.abort ?? transferFailed(qemu.error);
  return one({ kind: 'recordAborted', cause });
}

function transferFailed(error: string | undefined): Cause {
  return { reason: 'TransferFailed', message: `QEMU gave the transfer up${error === undefined ? '' : `: ${error}`}.` };
}

function afterAborted(cause: Cause, facts: SourceFacts): SourceStep {
  return facts.published.verdict === 'Aborted' ? nothing : one({ kind: 'publishVerdict', verdict: 'Aborted', cause });
}

/** The target owns the guest. The source stays as it is until the target has run, or has proven that it never will. */
function afterTold(facts: SourceFacts): SourceStep {
  const { qemu, targetVerdict, published } = facts;
  if (published.verdict === undefined) return one({ kind: 'publishVerdict', verdict: 'Completed' });
  if (published.verdict === 'Resumed') return nothing;
  switch (targetVerdict) {
    case 'TookOver':
      if (!published.downtime && facts.downtimeMilliseconds !== undefined) {
        return one({ kind: 'publishDowntime', milliseconds: facts.downtimeMilliseconds });
      }
      return facts.ownerMoved ? endSource(qemu) : nothing;
    case 'Lost':
      // The target may have run: the memory here is older than its disks. Whoever starts the VM again starts it from them.
      return facts.ownerMoved ? endSource(qemu) : nothing;
    case 'Gone':
    case 'Refused':
      // Said too late: the VM has been given to the dead target, and starts again from its disks.
      return facts.ownerMoved ? endSource(qemu) : resumeSource(facts);
    default:
      return nothing;
  }
}

function endSource(qemu: SourceQemu): SourceStep {
  if (qemu.presence === 'unknown') return { effects: [], lookAgainAfter: 500 };
  if (qemu.presence !== 'present') return nothing;
  const handedOver = qemu.stamped && qemu.migration === 'completed' && qemu.runState === 'postmigrate';
  return handedOver ? { effects: [{ kind: 'endQemu' }], lookAgainAfter: 500 } : nothing;
}

/** The target's agent attests that its QEMU never ran the guest and never will, so this copy is the newest. */
function resumeSource(facts: SourceFacts): SourceStep {
  const { qemu, journal } = facts;
  if (qemu.presence === 'gone') return nothing;
  if (qemu.presence !== 'present') return { effects: [], lookAgainAfter: 500 };
  const shouldRun = journal.issued?.resumeTarget ?? false;
  if (qemu.runState === 'postmigrate' && shouldRun) return { effects: [{ kind: 'continueGuest' }], lookAgainAfter: 20 };
  const cause: Cause = { reason: 'TargetLost', message: 'The target QEMU ended before it had run the guest.' };
  return one({ kind: 'publishVerdict', verdict: 'Resumed', cause });
}
