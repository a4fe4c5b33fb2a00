/** What the agent of a target reads before it decides, and what it decides. */
import { heardDirectly } from '../../src/migration/evidence.ts';
import type { TargetEffect, TargetFacts } from '../../src/migration/target-step.ts';
import { Pending } from './effects.ts';
import type { Model } from './model.ts';
import { causes, queues, seenByTarget } from './objects.ts';
import { migrationStates, Node, Pod, Qemu, runStates, type Target } from './world.ts';

export const targetPending = new Pending<TargetEffect>();

const address = '10.0.0.2';

const port = 4444;

/** Refused without a cause. */
export const refusedPlainly = 255;

/** `heard` says whether the guest ran. */
export const Heard = { no: 0, running: 1, stopped: 2 } as const;

function gather(target: Target, attempt: number): TargetFacts {
  const { seen } = seenByTarget(attempt)(target.seen);
  const said = target.queue === 0 ? {} : queues.at(target.queue).fields;
  const published = { ...seen.side, ...said } as NonNullable<typeof seen.side>;
  const word = seen.word ?? (target.heard === Heard.no ? undefined : heardDirectly('Completed'));
  const heardResume = target.heard === Heard.no ? undefined : target.heard === Heard.running;
  return {
    ...(word === undefined ? {} : { sourceWord: word }),
    resumeTarget: seen.resumeTarget ?? heardResume ?? true,
    ...(seen.gone === undefined ? {} : { sourceGone: seen.gone }),
    abandoned: seen.abandoned,
    ...(target.refusalAsked === 0 ? {} : { refusalAsked: causes.at(target.refusalAsked) }),
    ...((target.pod & Pod.placed) === 0 ? {} : { address }),
    mayListen: true,
    published: {
      endpoint: published.endpoint !== undefined,
      ...(published.verdict === undefined ? {} : { verdict: published.verdict }),
    },
    journal: journal(target),
    qemu: reading(target),
  };
}

function journal({ continued, refused, tidied }: Target): TargetFacts['journal'] {
  return {
    continued: continued !== 0,
    tidied: tidied !== 0,
    ...(refused === 0 ? {} : { refused: refused === refusedPlainly ? true : causes.at(refused) }),
  };
}

function reading(target: Target): TargetFacts['qemu'] {
  if (target.qemu === Qemu.notYet) return { presence: 'notYet' };
  if (target.qemu === Qemu.gone) return { presence: target.node === Node.up ? 'gone' : 'notYet' };
  if (target.silent !== 0) return { presence: 'unknown' };
  return {
    presence: 'present',
    runState: runStates[target.run] ?? 'none',
    migration: migrationStates[target.migration] ?? 'none',
    ...(target.listening === 0 ? {} : { port }),
  };
}

/** What is asked of the step about a pod that is left; see `src/agent/migration/left-pods.ts`. */
function gatherLeft(target: Target): TargetFacts {
  return {
    resumeTarget: false,
    abandoned: true,
    mayListen: false,
    published: { endpoint: true },
    journal: journal(target),
    qemu: reading(target),
  };
}

function keyOf(target: Target, view: number, queue: number): string {
  return String.fromCharCode(
    view,
    queue,
    target.run |
      (target.migration << 4) |
      (target.qemu << 8) |
      (target.node << 10) |
      (target.silent << 12) |
      (target.listening << 13),
    target.heard |
      (target.continued << 2) |
      ((target.pod & Pod.placed) << 3) |
      (target.tidied << 5) |
      (target.refused << 8),
    target.refusalAsked,
  );
}

export function decide(model: Model, target: Target, attempt: number): number {
  const key = keyOf(target, seenByTarget(attempt)(target.seen).number * 2 + attempt - 1, target.queue);
  const known = model.decisions.target.get(key);
  if (known !== undefined) return known;
  const decision = targetPending.of(model.steps.targetStep(gather(target, attempt)).effects);
  model.decisions.target.set(key, decision);
  return decision;
}

export function decideLeft(model: Model, target: Target): number {
  if (target.continued !== 0) return 0;
  const key = keyOf(target, 65_535, 0);
  const known = model.decisions.target.get(key);
  if (known !== undefined) return known;
  const { effects } = model.steps.targetStep(gatherLeft(target));
  // Nobody is left to be told.
  const decision = targetPending.of(effects.filter(({ kind }) => kind !== 'publishVerdict'));
  model.decisions.target.set(key, decision);
  return decision;
}

export function works(target: Target, attempt: number): boolean {
  return seenByTarget(attempt)(target.seen).seen.works && target.node !== Node.dead;
}
