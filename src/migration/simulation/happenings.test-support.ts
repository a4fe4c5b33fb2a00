/** Everything that can happen next. Every transition is one thing that one party does, or that befalls it. */
import { isTerminal } from '../../api/phases.ts';
import type { ControllerEffect } from '../controller-facts.ts';
import type { TargetEffect } from '../target-step.ts';
import { actOnSource, actOnTarget, fieldsOf, micro, sourceFacts, targetFacts } from './agents.test-support.ts';
import { actAsController, checkTerminal, controllerDecides } from './control-plane.test-support.ts';
import {
  append,
  latest,
  type Micro,
  patched,
  type Steps,
  sourceRuns,
  trim,
  version,
  type World,
  withSource,
  withTarget,
  write,
} from './world.test-support.ts';

export interface Happening {
  what: string;
  /** Undefined when nothing changes. Throws Violation when it must never happen. */
  next: () => World | undefined;
}

const never = 10 ** 9;

/** Everything that may happen in `w`; `calm` leaves out faults, wishes and stale reads, `late` lets every deadline pass. */
export function* happenings(w: World, steps: Steps, { calm = false, late = false } = {}): Generator<Happening> {
  if (w.lateWrite !== undefined) {
    const { lateWrite, ...rest } = w;
    yield {
      what: 'late write arrives',
      next: () => write(rest, patched(rest, lateWrite.side, lateWrite.base, lateWrite.fields)),
    };
  }
  if (w.asleep !== undefined) {
    const { asleep, ...rest } = w;
    yield { what: 'sleeping leader wakes', next: () => asleep.reduce(actAsController, rest) };
  }
  yield* engine(w);
  yield* kubelet(w);
  yield* parties(w, steps, calm, late ? never : 0);
  if (!calm && w.faults > 0) yield* faults({ ...w, faults: w.faults - 1 }, steps);
  if (!calm && w.wish && !w.objectRemoved) {
    const { metadata, spec, ...rest } = latest(w);
    const spent = { ...w, wish: false };
    yield { what: 'cancel', next: () => write(spent, { ...rest, metadata, spec: { ...spec, cancel: true } }) };
    const deleted = { ...metadata, deletionTimestamp: metadata.creationTimestamp };
    yield { what: 'delete', next: () => write(spent, { ...rest, metadata: deleted, spec }) };
  }
}

function* engine(w: World): Generator<Happening> {
  const { source, target, connected } = w;
  const link = connected && source.up && target.up === 'up';
  const was = source.issued?.resumeTarget === false ? 'paused' : 'running';
  if (source.up) {
    if (source.migration === 'active' && link)
      yield {
        what: 'QEMU: STOP, pre-switchover',
        next: () => withSource(w, { migration: 'pre-switchover', run: 'finish-migrate' }),
      };
    if (source.migration === 'device' && link && target.migration === 'completed')
      yield { what: 'QEMU: source completed', next: () => withSource(w, { migration: 'completed' }) };
    if (source.migration === 'completed' && source.run === 'finish-migrate')
      yield { what: 'QEMU: postmigrate', next: () => withSource(w, { run: 'postmigrate' }) };
    if (['active', 'device'].includes(source.migration) && !link)
      yield {
        what: 'QEMU: source failed',
        next: () => ({ ...withSource(w, { migration: 'failed' }), connected: false }),
      };
    if (['failed', 'cancelled'].includes(source.migration) && source.run === 'finish-migrate')
      yield {
        what: 'QEMU: RESUME',
        next: () => (was === 'running' ? sourceRuns(w) : withSource(w, { run: was, ranOn: true })),
      };
  }
  if (target.up === 'up' && target.migration === 'active') {
    if (source.migration === 'device' && link)
      yield { what: 'QEMU: target completed', next: () => withTarget(w, { migration: 'completed', run: 'paused' }) };
    if (!link) yield { what: 'QEMU: target exits', next: () => withTarget(w, { up: 'gone', run: 'gone' }) };
  }
}

function* kubelet(w: World): Generator<Happening> {
  const { source, target } = w;
  if (!source.up && !source.endTold)
    yield { what: 'kubelet: source ended', next: () => withSource(w, { endTold: true }) };
  if (target.pod === 'waiting' && !target.deleting)
    yield { what: 'scheduled', next: () => withTarget(w, { pod: 'placed' }) };
  if (target.pod === 'placed' && target.up === 'notYet' && !target.deleting)
    yield { what: 'kubelet: target starts', next: () => withTarget(w, { up: 'up', run: 'inmigrate' }) };
  const over = target.up === 'gone' || (target.up === 'notYet' && target.deleting);
  if (target.pod === 'placed' && over && !target.endTold)
    yield { what: 'kubelet: target ended', next: () => withTarget(w, { up: 'gone', endTold: true }) };
}

function* parties(w: World, steps: Steps, calm: boolean, now: number): Generator<Happening> {
  if (w.pending.source !== undefined) yield acted(w, 'source', w.pending.source);
  if (w.pending.target !== undefined) yield acted(w, 'target', w.pending.target);
  if (w.pending.controller !== undefined) yield acted(w, 'controller', w.pending.controller);
  if (w.objectRemoved) return;
  for (const party of ['source', 'target', 'controller'] as const) {
    if (w.pending[party] !== undefined) continue;
    for (let behind = calm ? 0 : w.behind[party]; behind >= 0; behind--) {
      const next = () => decided(w, steps, party, behind, { now, handoverPathOpen: true });
      yield { what: `${party} decides${behind > 0 ? ` ${behind} behind` : ''}`, next };
    }
  }
}

/** One party reads everything and decides. Undefined when there is nothing to do. */
function decided(
  w: World,
  steps: Steps,
  party: 'source' | 'target' | 'controller',
  behind: number,
  { now, handoverPathOpen }: { now: number; handoverPathOpen: boolean },
): World | undefined {
  const base = w.versions.at(-1 - behind) ?? 0;
  const migration = version(base);
  const read = trim({ ...w, behind: { ...w.behind, [party]: behind } });
  if (party === 'controller') {
    const { saves, ends, effects } = controllerDecides(w, steps, base, now);
    if (saves !== undefined && behind > 0) return undefined;
    if (ends !== undefined) checkTerminal(w, ends);
    const saved = saves === undefined ? read : append(read, saves);
    const next = trim({ ...saved, behind: { ...saved.behind, controller: saves === undefined ? behind : 0 } });
    if (effects.length > 0)
      return { ...next, pending: { ...next.pending, controller: { base, effects, begun: false } } };
    return saves === undefined ? undefined : next;
  }
  const { status = {} } = migration;
  const pod = party === 'source' ? status.sourcePod : status.targetPod;
  const cleaning = party === 'source' && status.owner !== undefined && !w.source.removed;
  if (pod === undefined || status.attempt === undefined || (isTerminal(status.phase) && !cleaning)) return undefined;
  const effects =
    party === 'source'
      ? steps.sourceStep(sourceFacts(w, migration, now, handoverPathOpen)).effects.flatMap(micro)
      : steps.targetStep(targetFacts(w, migration)).effects;
  if (effects.length === 0) return undefined;
  return { ...read, pending: { ...read.pending, [party]: { base, effects, begun: false } } };
}

function acted<P extends 'source' | 'target' | 'controller'>(
  w: World,
  party: P,
  { base, effects: [effect, ...effects] }: NonNullable<World['pending'][P]>,
): Happening {
  const { [party]: _, ...others } = w.pending;
  const pending = effects.length === 0 ? others : { ...others, [party]: { base, effects, begun: true } };
  const rest = { ...w, pending } as World;
  const next = () => {
    if (party === 'source') return actOnSource(rest, effect as Micro, base);
    return party === 'target'
      ? actOnTarget(rest, effect as TargetEffect, base)
      : actAsController(rest, effect as ControllerEffect);
  };
  const { kind, verdict = '' } = effect as { kind: string; verdict?: string };
  return { what: `${party}: ${kind} ${verdict}`, next };
}

/**
 * Each costs one of the faults that the beginning allows. Not among them: a leader that falls asleep before it creates the target
 * pod. A pod that comes after the end breaks I5 for the moment until it is seen and removed; the controller's step is tested for that.
 */
function* faults(w: World, steps: Steps): Generator<Happening> {
  const { source, target, pending, connected } = w;
  if (source.up) yield { what: 'FAULT source QEMU killed', next: () => withSource(w, { up: false, run: 'gone' }) };
  if (target.up === 'up')
    yield { what: 'FAULT target QEMU killed', next: () => withTarget(w, { up: 'gone', run: 'gone' }) };
  if (connected) yield { what: 'FAULT connection lost', next: () => ({ ...w, connected: false }) };
  for (const party of ['source', 'target', 'controller'] as const) {
    const { [party]: doing, ...others } = pending;
    if (doing === undefined) continue;
    // Before its first effect a crash is the same as not having looked.
    if (doing.begun) yield { what: `FAULT ${party} crashes`, next: () => ({ ...w, pending: others }) };
    const asleep = doing.effects as ControllerEffect[];
    const creates = asleep.some(({ kind }) => kind === 'createTargetPod');
    if (party === 'controller' && w.asleep === undefined && !creates) {
      yield { what: 'FAULT leader falls asleep', next: () => ({ ...w, pending: others, asleep }) };
    }
  }
  for (const side of ['source', 'target'] as const) {
    const { [side]: doing, ...others } = pending;
    const [effect] = doing?.effects ?? [];
    if (doing === undefined || effect === undefined || !effect.kind.startsWith('publish')) continue;
    const fields = fieldsOf(w, effect as Micro | TargetEffect);
    if (w.lateWrite === undefined)
      yield {
        what: `FAULT ${side} write delayed`,
        next: () => ({ ...w, pending: others, lateWrite: { side, base: doing.base, fields } }),
      };
    const unanswered = () => {
      const done = acted(w, side, doing).next();
      return done && { ...done, behind: { ...done.behind, [side]: w.behind[side] + 1 } };
    };
    yield { what: `FAULT ${side} write unanswered`, next: unanswered };
  }
  if (w.objectRemoved) return;
  if (pending.source === undefined) {
    const decide = (now: number, handoverPathOpen: boolean) => () =>
      decided(w, steps, 'source', 0, { now, handoverPathOpen });
    yield { what: 'FAULT source deadline', next: decide(never, true) };
    yield { what: 'FAULT handover path lost', next: decide(0, false) };
  }
  if (pending.controller === undefined) {
    const next = () =>
      decided({ ...w, waitedInVain: true }, steps, 'controller', 0, { now: never, handoverPathOpen: true });
    yield { what: 'FAULT controller deadline', next };
  }
}
