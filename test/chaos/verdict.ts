/** Whether a run kept what is promised. Reads plain evidence, so that it can be shown to fail. */
import { isTerminal } from '../../src/api/phases.ts';
import type { SerialChunk } from '../guest/heartbeat-recorder.ts';
import { doubleRuns, type Life, readLives } from './lives.ts';
import { bystanders, type Fault, ownProcesses, type Scenario } from './scenario.ts';

/** A QEMU that the run itself killed, and what was known at that moment. */
export interface KilledQemu {
  readonly role: 'source' | 'target';
  readonly sourceHadCompleted: boolean;
}

/** The status of a migration, as far as it is judged. */
interface Told {
  readonly phase?: string;
  readonly message?: string;
  readonly conditions?: readonly { readonly type: string; readonly status: string }[];
}

/** What is left of a run when everything should have come to rest. */
export interface Evidence {
  readonly scenario: Scenario;
  /** The object's last version; undefined when it was never seen. */
  readonly migration: Told | undefined;
  /** `spec.cancel` was accepted before the migration had ended. */
  readonly isCancelled: boolean;
  /** The run deleted it, which cancels it. */
  readonly isDeleted: boolean;
  readonly isObjectGone: boolean;
  readonly killedQemus: readonly KilledQemu[];
  /** Of the run alone, from when the guest ran at the source on. */
  readonly output: readonly SerialChunk[];
  readonly sourceSide: string;
  /** From the source's completion to the guest's first run on the target, where both were seen. */
  readonly handoverMilliseconds: number | undefined;
  /** Where the VM's owner is now by the word of the API, if there is one. */
  readonly owner: { readonly side: string; readonly node: string } | undefined;
  /** The owner's guest beats and has compared all its memory, after everything. */
  readonly guestAnswers: boolean;
  readonly leftovers: readonly string[];
}

export type ComplaintKind =
  | 'late handover'
  | 'double run'
  | 'lost guest'
  | 'bad memory'
  | 'not ended'
  | 'untrue'
  | 'not moved'
  | 'leftover';

export interface Complaint {
  readonly kind: ComplaintKind;
  readonly text: string;
}

/** It needs neither the API server nor the controller. */
const latestHandoverMilliseconds = 1000;

type Check = (evidence: Evidence, lives: readonly Life[]) => readonly string[];

const checks: Record<ComplaintKind, Check> = {
  'double run': ({ output }, lives) => doubleRuns(output, lives),

  'lost guest': (evidence, lives) => {
    const broken = lives.flatMap(({ report }) => report.faults.filter((fault) => fault.includes('was followed by')));
    if (lives.length > 1 && !mayBeRestarted(evidence, lives)) {
      broken.push(`the guest was started anew (${lives.map(({ sides }) => sides.join(' → ')).join(', then ')})`);
    }
    if (!evidence.guestAnswers) broken.push(`the guest does not answer on ${evidence.owner?.side ?? 'any node'}`);
    return broken;
  },

  'bad memory': (_evidence, lives) =>
    lives
      .filter(({ report }) => report.errors > 0)
      .map(({ report, sides }) => `the guest found ${report.errors} bad pages on ${sides.join(' → ')}`),

  'not ended': ({ migration, isDeleted, isObjectGone }) => {
    if (isObjectGone) return [];
    if (!isTerminal(migration?.phase)) return [`the migration is still ${migration?.phase}: ${migration?.message}`];
    return isDeleted ? ['the migration was deleted, and its object is still there'] : [];
  },

  untrue: ({ migration, owner, isCancelled }, [life, ...later]) => {
    if (!isTerminal(migration?.phase)) return [];
    const { phase, message = '', conditions = [] } = migration ?? {};
    const said: string[] = [];
    if (isCancelled && phase === 'Succeeded' && !conditions.some(({ type }) => type === 'CancelRejected')) {
      said.push('it was cancelled in time, and does not say that this was rejected');
    }
    if (later.length > 0 || owner === undefined) return said;
    const hasMoved = (life?.sides ?? []).length > 1;
    if (hasMoved !== (phase === 'Succeeded')) {
      said.push(`it says ${phase}, and the guest has ${hasMoved ? 'moved' : 'stayed'}: ${message}`);
    } else if (!message.includes(owner.node)) {
      said.push(`the guest runs on ${owner.node}, and the message says: ${message}`);
    }
    return said;
  },

  'not moved': ({ scenario, migration }) => {
    const isWrong = mustSucceed(scenario) && migration?.phase !== 'Succeeded';
    return isWrong ? [`only the project's own processes were killed, and it says ${migration?.phase}`] : [];
  },

  'late handover': ({ scenario, handoverMilliseconds: waited = 0 }) => {
    const isExcused = faultsOf(scenario).some(({ who }) => !bystanders.has(who));
    return isExcused || waited <= latestHandoverMilliseconds
      ? []
      : [`the guest waited ${Math.round(waited)} ms between the two nodes, of which none was hit`];
  },

  leftover: ({ leftovers }) => leftovers,
};

export function judge(evidence: Evidence): Complaint[] {
  const lives = readLives(evidence.output);
  return (Object.keys(checks) as ComplaintKind[]).flatMap((kind) =>
    checks[kind](evidence, lives).map((text) => ({ kind, text })),
  );
}

/**
 * The guest's only living copy was killed by the run: the source before the target ran, or the target when it had run or might have.
 * A source that was killed when the target lived on takes nothing away.
 */
function mayBeRestarted({ killedQemus, output, sourceSide }: Evidence, [first]: readonly Life[]): boolean {
  const targetRan = first !== undefined && output.some(({ side }) => side !== sourceSide && first.sides.includes(side));
  return killedQemus.some(({ role, sourceHadCompleted }) =>
    role === 'source' ? !targetRan : targetRan || sourceHadCompleted,
  );
}

/** Controller and agents may die at any time: the migration succeeds nevertheless. */
function mustSucceed(scenario: Scenario): boolean {
  const { background } = scenario;
  return (
    background.kind === 'success' &&
    faultsOf(scenario).every(({ kind, who }) => kind === 'kill' && ownProcesses.has(who))
  );
}

function faultsOf({ fault, second }: Scenario): readonly Fault[] {
  return second === undefined ? [fault] : [fault, second.fault];
}
