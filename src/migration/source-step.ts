/**
 * What the source's agent does next. It alone decides an attempt: it says `Completed` (the target owns the guest) or `Aborted`
 * (the guest is back as it was); QEMU lets only one of the two become true. Cancel, deadlines and every other wish are requests
 * to it.
 */
import type { Cause } from './cause.ts';
import type { FinalWord, OwnershipMoved, SourceVerdict, TargetVerdict } from './evidence.ts';
import { limits } from './limits.ts';
import { overdue, stalled, type TransferClock } from './overdue.ts';

export interface TransferLimits {
  maxDowntimeMilliseconds: number;
  /** 0 is unlimited. */
  maxBandwidthBytesPerSecond: number;
}

/** QEMU as the agent has just read it. `gone`: it was there in this boot and is not any more. */
export type SourceQemu =
  | { presence: 'notYet' | 'gone' }
  /** There, but its main loop did not answer. `frozen`: its monitor's own thread did, so it is the main loop that hangs. */
  | { presence: 'unknown'; frozen: boolean }
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

/** The ways by which the target could be told, as of now. A hint: it decides only whether to go on or to cancel. */
export interface HandoverPath {
  /** The API server has answered within the last two seconds. */
  api: boolean;
  /** The target's agent has answered on its direct connection within the last two seconds, and said this of its QEMU. */
  direct?: 'waiting' | 'silent' | 'absent' | 'other';
}

export interface SourceFacts {
  /** Milliseconds since the epoch, by this node's clock. */
  now: number;
  /** From the migration object. */
  plan?: { host: string; port: number };
  /** Why this agent cannot do as the plan says. */
  unspoken?: Cause;
  encrypted: boolean;
  abort?: Cause;
  limits: TransferLimits;
  ownershipMoved?: OwnershipMoved;
  /** From the object, or heard directly. */
  targetWord?: FinalWord<TargetVerdict>;
  /** What this agent has published so far; `waiting`: what it waits for. */
  published: { preflight: boolean; waiting?: string; verdict?: SourceVerdict; downtime: boolean };
  /** What this agent has written into its state directory. */
  journal: {
    issued?: { at: number; resumeTarget: boolean };
    cancel?: Cause;
    told: boolean;
    aborted?: Cause;
    /** Nothing of the aborted attempt is left in QEMU. */
    tidied: boolean;
  };
  qemu: SourceQemu;
  handoverPath: HandoverPath;
  clock: TransferClock;
  /** Measured from QEMU's STOP to the news that the target runs, in milliseconds; undefined while either is missing. */
  downtimeMilliseconds?: number;
}

/** This agent has seen its own QEMU give the attempt up, before the target could be told. */
type NotHandedOver = 'NotHandedOver';

/** In the order in which they are carried out. What cannot be undone says what it rests on. */
export type SourceEffect =
  | { kind: 'publishPreflight' }
  /** Says what keeps the migration from going on, without a verdict; or that nothing does any more. */
  | { kind: 'publishWaiting'; cause?: Cause }
  | { kind: 'issueMigrate'; plan: { host: string; port: number }; limits: TransferLimits; resumeTarget: boolean }
  | { kind: 'applyLimits'; limits: TransferLimits }
  | { kind: 'recordCancel'; cause: Cause }
  | { kind: 'cancelTransfer' }
  /** Cuts the stream from the monitor's own thread, past a main loop that hangs in it. As safe as a cancel: nobody was told. */
  | { kind: 'cutStream' }
  /** Asks the target's agent to give the attempt up and to end its QEMU. It refuses that when it was told before. */
  | { kind: 'askTargetToRefuse'; cause: Cause }
  | { kind: 'continueSwitchover' }
  | { kind: 'continueGuest'; because: NotHandedOver | FinalWord<'Gone' | 'Refused'> }
  | { kind: 'recordTold' }
  /** Tells the target's agent directly. Beside `publishVerdict`, which tells it by the API server. */
  | { kind: 'handOver' }
  | { kind: 'recordAborted'; cause: Cause }
  | { kind: 'removeTraces' }
  | { kind: 'publishVerdict'; verdict: SourceVerdict; cause?: Cause }
  | { kind: 'publishDowntime'; milliseconds: number }
  /** With `Gone` or `Refused` only in post-copy, out of which neither side can go on alone. */
  | { kind: 'endQemu'; because: OwnershipMoved | FinalWord<'Gone' | 'Refused'> };

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
  const { qemu, journal, published } = facts;
  if (journal.told) return afterTold(facts);
  if (journal.aborted !== undefined) return afterAborted(journal.aborted, facts);
  if (qemu.presence === 'gone')
    return published.verdict === 'Gone' ? nothing : one({ kind: 'publishVerdict', verdict: 'Gone' });
  // Nothing was sent, and nothing will be: QEMU need not answer. But it must have been seen in this boot: another boot's journal is
  // gone, and with it what the target may have been told.
  if (journal.issued === undefined && facts.abort !== undefined && qemu.presence !== 'notYet')
    return one({ kind: 'recordAborted', cause: facts.abort });
  if (qemu.presence === 'unknown' && journal.issued !== undefined) return whileSilent(qemu.frozen, facts);
  if (qemu.presence !== 'present') return { effects: [], lookAgainAfter: 500 };
  if (journal.issued === undefined) return beforeMigrate(qemu.runState, facts);
  return whileMigrating(qemu, journal.issued, facts);
}

function beforeMigrate(runState: string, facts: SourceFacts): SourceStep {
  const { plan, published } = facts;
  if (!published.preflight) return one({ kind: 'publishPreflight' });
  if (plan === undefined) return nothing;
  return issue(plan, runsOnArrival(runState), facts);
}

/**
 * A target that accepts an encrypted stream and stays silent would freeze this guest: it has to have answered just now, and its
 * agent has to be there to end it.
 */
function issue(plan: NonNullable<SourceFacts['plan']>, resumeTarget: boolean, facts: SourceFacts): SourceStep {
  const obstacle = facts.unspoken ?? targetEnded(facts);
  if (obstacle !== undefined) return one({ kind: 'recordAborted', cause: obstacle });
  if (facts.encrypted && facts.handoverPath.direct !== 'waiting') {
    const cause = targetDoesNotWait(facts.handoverPath);
    const known = facts.published.waiting === cause.message;
    return { effects: known ? [] : [{ kind: 'publishWaiting', cause }], lookAgainAfter: 100 };
  }
  return one({ kind: 'issueMigrate', plan, limits: facts.limits, resumeTarget });
}

function targetDoesNotWait({ direct }: HandoverPath): Cause {
  return direct === undefined
    ? { reason: 'HandoverPathLost', message: "The target's agent does not answer the source's agent directly." }
    : { reason: 'TargetNotReady', message: `The target's agent says that its QEMU is ${direct}.` };
}

/** A guest that its owner paused, or that stands still by itself (io-error, guest-panicked), is handed over as it is. */
function runsOnArrival(runState: string): boolean {
  return runState === 'running' || runState === 'suspended';
}

/** QEMU hangs in its main loop, most likely in the TLS handshake with a silent target: the guest stands still. */
function whileSilent(frozen: boolean, facts: SourceFacts): SourceStep {
  const { journal, clock } = facts;
  if (journal.cancel !== undefined) {
    const cause = journal.cancel;
    return frozen
      ? { effects: [{ kind: 'cutStream' }, { kind: 'askTargetToRefuse', cause }], lookAgainAfter: 200 }
      : { effects: [], lookAgainAfter: 200 };
  }
  const inHandshake = frozen && facts.encrypted && !clock.handshakeDone;
  const cause = facts.abort ?? targetEnded(facts) ?? (inHandshake ? targetNotAnswering : undefined) ?? stalled(facts);
  return cause === undefined ? { effects: [], lookAgainAfter: 200 } : one({ kind: 'recordCancel', cause });
}

const targetNotAnswering: Cause = {
  reason: 'TargetNotAnswering',
  message: 'The target accepted the connection and stayed silent, and the guest stood still meanwhile.',
};

type PresentQemu = Extract<SourceQemu, { presence: 'present' }>;
type Issued = NonNullable<SourceFacts['journal']['issued']>;

function whileMigrating(qemu: PresentQemu, issued: Issued, facts: SourceFacts): SourceStep {
  if (!qemu.stamped || qemu.migration === 'none') return issueAgain(issued, facts);
  // The guest is spread over both sides: neither may be cancelled, and the source has stopped for good.
  if (spreadOverBoth.has(qemu.migration) && qemu.runState !== 'running') return tell;
  if (qemu.migration.startsWith('postcopy-')) return poll;
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

/** It has stopped for good, and a part of its memory is needed at the target; whether that can be sent or not. */
const spreadOverBoth = new Set(['postcopy-active', 'postcopy-paused', 'postcopy-recover', 'postcopy-recover-setup']);

/** The agent ended between its note and QEMU's: nothing has been sent. */
function issueAgain(issued: Issued, facts: SourceFacts): SourceStep {
  const cause = facts.journal.cancel ?? facts.abort;
  if (cause !== undefined) return one({ kind: 'recordAborted', cause });
  return facts.plan === undefined ? nothing : issue(facts.plan, issued.resumeTarget, facts);
}

function inTransfer(qemu: PresentQemu, issued: Issued, facts: SourceFacts): SourceStep {
  if (facts.journal.cancel !== undefined) return { effects: [{ kind: 'cancelTransfer' }], lookAgainAfter: 100 };
  const cause = facts.abort ?? targetEnded(facts) ?? overdue(qemu.migration, issued.at, facts);
  if (cause !== undefined) return one({ kind: 'recordCancel', cause });
  if (facts.published.waiting !== undefined) return one({ kind: 'publishWaiting' });
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

function targetEnded({ targetWord }: SourceFacts): Cause | undefined {
  return targetWord === undefined
    ? undefined
    : { reason: 'TransferFailed', message: 'The target QEMU ended before the guest could be handed over.' };
}

/** The guest stands still here: either the target can be told of the end, or the guest runs on now. */
function atSwitchover(facts: SourceFacts): SourceStep {
  const { journal, handoverPath } = facts;
  if (journal.cancel !== undefined) return { effects: [{ kind: 'cancelTransfer' }], lookAgainAfter: 100 };
  const cause = facts.abort ?? targetEnded(facts) ?? pathLost(handoverPath);
  if (cause !== undefined) return one({ kind: 'recordCancel', cause });
  return { effects: [{ kind: 'continueSwitchover' }], lookAgainAfter: 100 };
}

function pathLost({ api, direct }: HandoverPath): Cause | undefined {
  if (direct === 'absent')
    return {
      reason: 'HandoverPathLost',
      message: "At the switchover the target's agent said that its QEMU had ended.",
    };
  if (api || direct !== undefined) return undefined;
  return {
    reason: 'HandoverPathLost',
    message:
      "Neither the target's agent nor the API server answered at the moment of the switchover, so the target could not have been told to take over.",
  };
}

/** From here on the target owns the guest. Noted before it is said, so that a restarted agent cannot say the opposite. */
const tell: SourceStep = {
  effects: [{ kind: 'recordTold' }, { kind: 'handOver' }, { kind: 'publishVerdict', verdict: 'Completed' }],
  lookAgainAfter: limits.handoverRepeated,
};

/** QEMU says `completed` a moment before it enters `postmigrate`; only both together mean that it will not run by itself. */
function onCompleted(qemu: PresentQemu, issued: Issued, facts: SourceFacts): SourceStep {
  if (qemu.runState === 'postmigrate') return tell;
  if (qemu.runState === 'finish-migrate') return { effects: [], lookAgainAfter: 1 };
  // The word of the migration by which the guest came here: the agent ended between the stamp and `migrate`.
  return issueAgain(issued, facts);
}

/** Not a guest's own state: QEMU is on its way back to it. */
const onTheWayBack = new Set(['finish-migrate', 'inmigrate']);

/** The attempt is over at the source, and the target was never told: the guest goes back to what it was. */
function onGivenUp(qemu: PresentQemu, issued: Issued, facts: SourceFacts): SourceStep {
  if (onTheWayBack.has(qemu.runState)) return { effects: [], lookAgainAfter: 20 };
  if (issued.resumeTarget && (qemu.runState === 'paused' || qemu.runState === 'postmigrate')) {
    return { effects: [{ kind: 'continueGuest', because: 'NotHandedOver' }], lookAgainAfter: 20 };
  }
  const cause = facts.journal.cancel ?? facts.abort ?? transferFailed(qemu.error);
  return one({ kind: 'recordAborted', cause });
}

function transferFailed(error: string | undefined): Cause {
  return { reason: 'TransferFailed', message: `QEMU gave the transfer up${error === undefined ? '' : `: ${error}`}.` };
}

function afterAborted(cause: Cause, { qemu, journal, published }: SourceFacts): SourceStep {
  const publish: SourceEffect[] =
    published.verdict === 'Aborted' ? [] : [{ kind: 'publishVerdict', verdict: 'Aborted', cause }];
  if (journal.tidied || qemu.presence === 'gone' || qemu.presence === 'notYet') return { effects: publish };
  if (qemu.presence === 'unknown') return { effects: publish, lookAgainAfter: 500 };
  // First the traces: once the word is out the migration may end, and nobody comes back for them.
  return { effects: [{ kind: 'removeTraces' }, ...publish], lookAgainAfter: 500 };
}

/** The target owns the guest. The source stays as it is until the target has run, or has proven that it never will. */
function afterTold(facts: SourceFacts): SourceStep {
  const { qemu, targetWord, published } = facts;
  if (published.verdict === 'Resumed') return nothing;
  // Also a word that comes after this changes nothing: the VM has been given away, and starts again from its disks if need be.
  if (facts.ownershipMoved !== undefined) return afterMove(facts.ownershipMoved, facts);
  const publish: SourceEffect[] =
    published.verdict === 'Completed' ? [] : [{ kind: 'publishVerdict', verdict: 'Completed' }];
  if (targetWord === undefined) {
    return { effects: [{ kind: 'handOver' }, ...publish], lookAgainAfter: limits.handoverRepeated };
  }
  if (publish.length > 0) return { effects: publish };
  if (targetWord === 'Gone' || targetWord === 'Refused') return resumeSource(targetWord, qemu, facts);
  return tellDowntime(facts) ?? nothing;
}

function afterMove(because: OwnershipMoved, facts: SourceFacts): SourceStep {
  const { qemu, published } = facts;
  if (published.verdict === undefined) return one({ kind: 'publishVerdict', verdict: 'Completed' });
  const downtime = tellDowntime(facts);
  if (downtime !== undefined) return downtime;
  if (qemu.presence === 'unknown') return { effects: [], lookAgainAfter: 500 };
  if (qemu.presence !== 'present') return nothing;
  if (runsAgain(qemu, facts)) return sayResumed(facts);
  const handedOver = qemu.stamped && qemu.migration === 'completed' && qemu.runState === 'postmigrate';
  if (handedOver) return { effects: [{ kind: 'endQemu', because }], lookAgainAfter: 500 };
  if (!qemu.migration.startsWith('postcopy-')) return nothing;
  // It still holds memory that the target needs, unless that has ended.
  return facts.targetWord === 'Lost' ? endHalf(because, qemu) : poll;
}

/** Half a guest, of which the other half is lost. Without this attempt's stamp it is another's, and is needed. */
function endHalf(because: OwnershipMoved | FinalWord<'Gone' | 'Refused'>, { stamped }: PresentQemu): SourceStep {
  return stamped ? { effects: [{ kind: 'endQemu', because }], lookAgainAfter: 500 } : poll;
}

/** The target's agent had said that it never ran the guest, and this one had continued it, before the VM was given away. */
function runsAgain(qemu: PresentQemu, { targetWord }: SourceFacts): boolean {
  const neverRanThere = targetWord === 'Gone' || targetWord === 'Refused';
  return neverRanThere && qemu.stamped && qemu.migration === 'completed' && qemu.runState !== 'postmigrate';
}

const targetLost: Cause = { reason: 'TargetLost', message: 'The target QEMU ended before it had run the guest.' };

function tellDowntime({ targetWord, published, downtimeMilliseconds }: SourceFacts): SourceStep | undefined {
  if (targetWord !== 'TookOver' || published.downtime || downtimeMilliseconds === undefined) return undefined;
  return one({ kind: 'publishDowntime', milliseconds: downtimeMilliseconds });
}

/** The target's agent attests that its QEMU never ran the guest and never will, so this copy is the newest. */
function resumeSource(because: FinalWord<'Gone' | 'Refused'>, qemu: SourceQemu, facts: SourceFacts): SourceStep {
  if (qemu.presence === 'gone') return nothing;
  if (qemu.presence !== 'present') return { effects: [], lookAgainAfter: 500 };
  // Out of post-copy there is no way back: what the target had is lost, and with it the guest.
  if (qemu.migration.startsWith('postcopy-')) return endHalf(because, qemu);
  const shouldRun = facts.journal.issued?.resumeTarget ?? false;
  if (qemu.runState === 'postmigrate' && shouldRun)
    return { effects: [{ kind: 'continueGuest', because }], lookAgainAfter: 20 };
  return sayResumed(facts);
}

/** First the traces: once the word is out nobody comes back for them. */
function sayResumed({ journal }: SourceFacts): SourceStep {
  const publish: SourceEffect = { kind: 'publishVerdict', verdict: 'Resumed', cause: targetLost };
  return { effects: [...(journal.tidied ? [] : [{ kind: 'removeTraces' } as const]), publish] };
}
