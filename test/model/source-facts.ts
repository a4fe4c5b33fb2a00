/** What the source's agent reads before it decides, and what it decides. */
import { heardDirectly, type TargetVerdict } from '../../src/migration/evidence.ts';
import type { HandoverPath, SourceEffect, SourceFacts } from '../../src/migration/source-step.ts';
import { Pending } from './effects.ts';
import type { Model } from './model.ts';
import { causes, queues, seenBySource } from './objects.ts';
import { partner } from './qemu.ts';
import { Issued, Migration, migrationStates, Node, Qemu, Run, runStates, targetVerdicts, type World } from './world.ts';

/** `issueMigrate` is four things, and an agent may crash between any two. */
export type Micro =
  | Exclude<SourceEffect, { kind: 'issueMigrate' }>
  | { kind: 'noteIssued'; resumeTarget: boolean }
  | { kind: 'stamp' | 'migrate' };

export const sourcePending = new Pending<Micro>();

const limits = { maxDowntimeMilliseconds: 300, maxBandwidthBytesPerSecond: 0 };

const late = 1e9;

const clock = { watchedSince: 0, apiSince: 0, lastByteAt: 0, timeoutMilliseconds: 1_000 };

/** The ways to the target that the agent may believe in: any of them may be out of date. */
const paths: readonly HandoverPath[] = [
  { api: true, direct: 'waiting' },
  { api: true, direct: 'other' },
  { api: true, direct: 'absent' },
  { api: true, direct: 'silent' },
  { api: false },
];

export const unclearPaths = [0, 2, 4];

export function truePath(w: World): number {
  const target = partner(w);
  if (target.node !== Node.up) return 4;
  if (target.qemu !== Qemu.up) return 2;
  if (target.silent !== 0) return 3;
  return target.run === Run.inmigrate ? 0 : 1;
}

function gather(w: World, encrypted: boolean, path: number, overdue: boolean): SourceFacts {
  const { source } = w;
  const { seen } = seenBySource(source.seen);
  const said = source.queue === 0 ? {} : queues.at(source.queue).fields;
  const published = { ...seen.side, ...said } as NonNullable<typeof seen.side>;
  const heard = targetVerdicts[source.heard];
  const word = heard === undefined ? seen.word : heardDirectly(heard as TargetVerdict);
  return {
    now: overdue ? late : 0,
    encrypted,
    ...(seen.plan === undefined ? {} : { plan: seen.plan }),
    ...(seen.abort === undefined ? {} : { abort: seen.abort }),
    limits,
    ...(seen.moved === undefined ? {} : { ownershipMoved: seen.moved }),
    ...(word === undefined ? {} : { targetWord: word }),
    published: {
      preflight: published.preflight !== undefined,
      downtime: published.downtimeMilliseconds !== undefined,
      ...(published.message === undefined ? {} : { waiting: published.message }),
      ...(published.verdict === undefined ? {} : { verdict: published.verdict }),
    },
    journal: {
      told: source.told !== 0,
      tidied: source.tidied !== 0,
      ...(source.issued === Issued.no ? {} : { issued: { at: 0, resumeTarget: source.issued === Issued.running } }),
      ...(source.cancel === 0 ? {} : { cancel: causes.at(source.cancel) }),
      ...(source.aborted === 0 ? {} : { aborted: causes.at(source.aborted) }),
    },
    qemu: reading(w),
    handoverPath: paths[path] ?? { api: false },
    clock: { ...clock, handshakeDone: source.migration !== Migration.setup },
    ...(word === 'TookOver' && source.told !== 0 ? { downtimeMilliseconds: 9 } : {}),
  };
}

function reading({ source }: World): SourceFacts['qemu'] {
  if (source.qemu !== Qemu.up) return { presence: source.node === Node.up ? 'gone' : 'notYet' };
  if (source.frozen !== 0) return { presence: 'unknown', frozen: true };
  return {
    presence: 'present',
    runState: runStates[source.run] ?? 'none',
    migration: migrationStates[source.migration] ?? 'none',
    stamped: source.stamp === source.attempt,
    limits,
  };
}

export function decide(model: Model, w: World, path: number, overdue: boolean): number {
  const { source } = w;
  const key = String.fromCharCode(
    seenBySource(source.seen).number,
    source.queue,
    source.run |
      (source.migration << 4) |
      ((source.stamp === source.attempt ? 1 : 0) << 8) |
      (source.qemu << 9) |
      (source.node << 11) |
      (source.frozen << 13),
    source.issued |
      (source.told << 2) |
      (source.tidied << 3) |
      (source.heard << 4) |
      (path << 8) |
      ((overdue ? 1 : 0) << 12),
    source.cancel | (source.aborted << 8),
  );
  const known = model.decisions.source.get(key);
  if (known !== undefined) return known;
  const encrypted = model.configuration.encrypted ?? false;
  const { effects } = model.steps.sourceStep(gather(w, encrypted, path, overdue));
  const decision = sourcePending.of(effects.flatMap(micro));
  model.decisions.source.set(key, decision);
  return decision;
}

function micro(effect: SourceEffect): Micro[] {
  if (effect.kind !== 'issueMigrate') return [effect];
  return [{ kind: 'noteIssued', resumeTarget: effect.resumeTarget }, { kind: 'stamp' }, { kind: 'migrate' }];
}

export function works({ source }: World): boolean {
  const { seen } = seenBySource(source.seen);
  return seen.works && source.node !== Node.dead;
}
