/** Facts for the tests of what the source's agent decides. */
import type { Cause } from './cause.ts';
import { heardDirectly, type OwnershipMoved, ownershipMoved, type TargetVerdict } from './evidence.ts';
import { type SourceFacts, type SourceQemu, sourceStep } from './source-step.ts';

export const limits = { maxDowntimeMilliseconds: 300, maxBandwidthBytesPerSecond: 0 };
export const plan = { host: '10.0.0.2', port: 4444 };
export const cancelled: Cause = { reason: 'Cancelled', message: 'spec.cancel was set.' };

export type Present = Extract<SourceQemu, { presence: 'present' }>;

/** A running guest that nobody has begun to move. */
export interface Given
  extends Partial<Omit<SourceFacts, 'qemu' | 'journal' | 'published' | 'clock' | 'targetWord' | 'ownershipMoved'>> {
  qemu?: Partial<Present> | Exclude<SourceQemu, Present>;
  clock?: Partial<SourceFacts['clock']>;
  targetWord?: TargetVerdict;
  moved?: boolean;
  journal?: Partial<SourceFacts['journal']>;
  published?: Partial<SourceFacts['published']>;
}

const moved = ownershipMoved({
  owner: { podUID: 'target-pod', generation: 2 },
  targetPod: { name: 'web-m', uid: 'target-pod' },
}) as OwnershipMoved;

export function step({ qemu, journal, published, clock, targetWord, moved: hasMoved = false, ...given }: Given) {
  const present: Present = { presence: 'present', runState: 'running', migration: 'none', stamped: false, limits };
  return sourceStep({
    now: 1_000,
    limits,
    encrypted: false,
    handoverPath: { api: true, direct: 'waiting' },
    ...given,
    ...(targetWord === undefined ? {} : { targetWord: heardDirectly(targetWord) }),
    ...(hasMoved ? { ownershipMoved: moved } : {}),
    clock: { watchedSince: 0, apiSince: 0, handshakeDone: false, timeoutMilliseconds: 60_000, ...clock },
    published: { preflight: true, downtime: false, ...published },
    journal: { told: false, tidied: false, ...journal },
    qemu: { ...present, ...qemu } as SourceQemu,
  });
}

export const kinds = (given: Given) => step(given).effects.map(({ kind }) => kind);

export const issued = { at: 0, resumeTarget: true };
/** `migrate` has been issued, and QEMU says so. */
export function moving(migration: string, runState: string, given: Given = {}): Given {
  return {
    plan,
    ...given,
    journal: { issued, ...given.journal },
    qemu: { migration, runState, stamped: true, ...given.qemu } as Partial<Present>,
  };
}

/** Noted, and not yet published. */
export const noted = (given: Given = {}): Given =>
  moving('completed', 'postmigrate', { ...given, journal: { told: true } });

export const told = (given: Given = {}): Given =>
  moving('completed', 'postmigrate', {
    ...given,
    journal: { told: true, ...given.journal },
    published: { verdict: 'Completed', ...given.published },
  });

/** Noted before it is said, and said on both ways. */
export const tells = ['recordTold', 'handOver', 'publishVerdict'];
