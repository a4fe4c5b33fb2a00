/** The versions of the migration's object, numbered, and what each party sees in one. */
import type { VirtualMachineMigration } from '../../src/api/objects.ts';
import { isTerminal } from '../../src/api/phases.ts';
import type { VirtualMachineMigrationStatus } from '../../src/api/virtual-machine-migration.gen.ts';
import { targetPodName } from '../../src/migration/attempt.ts';
import type { Cause } from '../../src/migration/cause.ts';
import {
  type OwnershipMoved,
  ownershipMoved,
  type SourceGone,
  sourceGone,
  sourceSide,
  sourceWord,
  targetSide,
  targetWord,
} from '../../src/migration/evidence.ts';
import { Numbering } from './record.ts';

export const epoch = '1970-01-01T00:00:00.000Z';
const migrationUID = '0badcafe-0000-4000-8000-000000000001';
export const sourcePodReference = { name: 'web-1', uid: 'source-pod' };
export const nodes = { source: 'node-a', targets: ['node-b', 'node-c'] } as const;
export const targetPodReference = (attempt: number) => ({
  name: targetPodName('web', migrationUID, attempt),
  uid: `target-pod-${attempt}`,
});

/** Nobody has it any more. */
export const gone = 0;

export const versions = new Numbering<VirtualMachineMigration>();
export const causes = new Numbering<Cause>();

/** What an agent wants to add to its side, and the attempt it speaks of. */
export interface Words {
  side: 'source' | 'target';
  attempt: number;
  fields: Record<string, unknown>;
  postCopy: boolean;
}
export const queues = new Numbering<Words>();
/** A write that left with the sequence number it expects. */
export const lateWrites = new Numbering<Words & { sequence: number }>();

export function firstVersion(backoffLimit: number): number {
  return versions.of({
    apiVersion: 'vmferry.io/v1alpha1',
    kind: 'VirtualMachineMigration',
    metadata: {
      namespace: 'default',
      name: 'move',
      uid: migrationUID,
      resourceVersion: '1',
      generation: 1,
      creationTimestamp: epoch,
      finalizers: ['vmferry.io/migration'],
    },
    spec: { virtualMachineName: 'web', ...(backoffLimit > 0 ? { backoffLimit } : {}) },
  });
}

/** Decisions read the first two; the third names a debt. */
const conditionsThatDecide = new Set(['TargetCleaned', 'Finished', 'SourceCleaned']);

/** Times and sentences decide nothing that is looked at here, and would make endlessly many versions of one. */
export function bare(migration: VirtualMachineMigration): VirtualMachineMigration {
  if (migration.status === undefined) return migration;
  const { conditions = [], timeline = [], observedGeneration: _, message, attempts, ...status } = migration.status;
  const kept = conditions.filter(({ type }) => conditionsThatDecide.has(type));
  const phases = [...new Set(timeline.map(({ phase }) => phase))];
  return {
    ...migration,
    status: {
      ...status,
      ...(message === undefined ? {} : { message: '.' }),
      ...(attempts === undefined
        ? {}
        : { attempts: attempts.map((attempt) => ({ ...attempt, message: '.', finishedAt: epoch })) }),
      conditions: kept.map(({ type, status: value, reason }) => ({
        type,
        status: value,
        reason,
        message: '.',
        lastTransitionTime: epoch,
      })),
      timeline: phases.sort().map((phase) => ({ phase, at: epoch })),
    },
  };
}

interface SeenBySource {
  attempt: number;
  /** Its agent works on it: it has begun, and has not ended or its source has yet to. */
  works: boolean;
  plan: { host: string; port: number } | undefined;
  abort: Cause | undefined;
  moved: OwnershipMoved | undefined;
  word: ReturnType<typeof targetWord>;
  side: ReturnType<typeof sourceSide>;
}

interface SeenByTarget {
  attempt: number;
  /** The object names this pod, is at its attempt, and has not ended. */
  works: boolean;
  /** Nobody can tell the target to run any more: what an agent asks of the API server about a pod that is left. */
  over: boolean;
  /** The object accounts for the pod, whoever works on it. */
  accounted: boolean;
  word: ReturnType<typeof sourceWord>;
  resumeTarget: boolean | undefined;
  gone: SourceGone | undefined;
  abandoned: boolean;
  side: ReturnType<typeof targetSide>;
}

/** A pure function of a version, remembered, with a number that is equal when the answer is. */
function remembered<Seen>(look: (status: VirtualMachineMigrationStatus, exists: boolean) => Seen) {
  const numbering = new Numbering<Seen>();
  const known: { seen: Seen; number: number }[] = [];
  return (version: number) => {
    const before = known[version];
    if (before !== undefined) return before;
    const seen = version === gone ? look({}, false) : look(versions.at(version).status ?? {}, true);
    const fresh = { seen, number: numbering.of(seen) };
    known[version] = fresh;
    return fresh;
  };
}

export const seenBySource = remembered<SeenBySource>((status) => {
  const attempt = status.attempt ?? 0;
  return {
    attempt,
    works: status.sourcePod !== undefined && (!isTerminal(status.phase) || status.owner !== undefined),
    plan: status.plan?.attempt === attempt ? status.plan.endpoint : undefined,
    abort: status.abort?.attempt === attempt ? (status.abort as Cause) : undefined,
    moved: ownershipMoved(status),
    word: targetWord(status),
    side: sourceSide(status),
  };
});

const targetOf = (own: number) =>
  remembered<SeenByTarget>((status, exists) => {
    const attempt = status.attempt ?? 0;
    const current = exists && attempt === own;
    const named = current && status.targetPod?.uid === targetPodReference(own).uid;
    const ended = isTerminal(status.phase);
    return {
      attempt,
      works: named && !ended,
      over: !exists || attempt > own || (ended && status.owner?.podUID !== targetPodReference(own).uid),
      accounted: named && (!ended || status.owner !== undefined),
      word: current ? sourceWord(status) : undefined,
      resumeTarget: current ? sourceSide(status)?.resumeTarget : undefined,
      gone: current ? sourceGone(status) : undefined,
      abandoned: current && status.abort?.attempt === own && status.plan === undefined,
      side: named ? targetSide(status) : undefined,
    };
  });

const targetViews = [targetOf(1), targetOf(2)] as const;
export const seenByTarget = (own: number) => (own === 2 ? targetViews[1] : targetViews[0]);

const patches = new Map<number, number>();

/**
 * The API server's answer to an agent's JSON patch, with its tests on attempt and sequence.
 * @returns the version that follows, or -1 when it is refused.
 */
export function patched(latest: number, write: number): number {
  const key = latest * 65_536 + write;
  const known = patches.get(key);
  if (known !== undefined) return known;
  const answer = patch(latest, lateWrites.at(write));
  patches.set(key, answer);
  return answer;
}

function patch(latest: number, { side, attempt, fields, sequence, postCopy }: Words & { sequence: number }): number {
  if (latest === gone) return -1;
  const migration = versions.at(latest);
  const { status = {} } = migration;
  const before = status[side];
  if (status.attempt !== attempt || before?.sequence !== sequence || before?.attempt !== attempt) return -1;
  const value = { ...before, ...fields, sequence: sequence + 1 };
  const transfer = postCopy ? { transfer: { ...status.transfer, mode: 'PostCopy' as const } } : {};
  return versions.of(bare({ ...migration, status: { ...status, ...transfer, [side]: value } }));
}

/** Whether a write takes a final word back. */
export function takesBack(latest: number, next: number, side: 'source' | 'target'): boolean {
  const [old, fresh] = [latest, next].map((version) => versions.at(version).status?.[side]?.verdict);
  return contradicts(old, fresh);
}

const contradicts = (old: unknown, fresh: unknown) =>
  old !== undefined && old !== fresh && !(old === 'Completed' && fresh === 'Resumed');

/** What is still to be written, once the side is known to say this for good: another process of the agent had said it. */
export function withoutContradiction(queue: number, said: unknown): number {
  if (queue === 0) return 0;
  const words = queues.at(queue);
  if (words.fields.verdict === undefined || !contradicts(said, words.fields.verdict)) return queue;
  const { verdict: _, verdictAt: _at, reason: _reason, message: _message, ...fields } = words.fields;
  return Object.keys(fields).length === 0 ? 0 : queues.of({ ...words, fields });
}
