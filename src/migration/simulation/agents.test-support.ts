/** What the two agents read before they decide, and what their effects do to the world. */
import type { VirtualMachineMigration } from '../../api/objects.ts';
import { sourceSide, targetSide } from '../evidence.ts';
import type { Cause, SourceEffect, SourceFacts } from '../source-step.ts';
import type { TargetEffect, TargetFacts } from '../target-step.ts';
import {
  endSource,
  endTarget,
  type Micro,
  must,
  publish,
  sourceRuns,
  targetRuns,
  type World,
  withSource,
  withTarget,
} from './world.test-support.ts';

export function sourceFacts(
  w: World,
  migration: VirtualMachineMigration,
  now: number,
  handoverPathOpen: boolean,
): SourceFacts {
  const { status = {} } = migration;
  const { up, run, migration: state, stamped, issued, cancel, aborted, told } = w.source;
  const published = sourceSide(status);
  const targetVerdict = targetSide(status)?.verdict;
  const limits = { maxDowntimeMilliseconds: 300, maxBandwidthBytesPerSecond: 0 };
  return {
    now,
    ...(status.plan === undefined ? {} : { plan: status.plan.endpoint }),
    ...(status.abort === undefined ? {} : { abort: status.abort as Cause }),
    limits,
    timeoutMilliseconds: 1_000,
    ownerMoved: status.owner !== undefined && status.owner.podUID === status.targetPod?.uid,
    ...(targetVerdict === undefined ? {} : { targetVerdict }),
    published: {
      preflight: published?.preflight !== undefined,
      downtime: published?.downtimeMilliseconds !== undefined,
      ...(published?.verdict === undefined ? {} : { verdict: published.verdict }),
    },
    journal: {
      told,
      ...(issued === undefined ? {} : { issued }),
      ...(cancel === undefined ? {} : { cancel }),
      ...(aborted === undefined ? {} : { aborted }),
    },
    qemu: up ? { presence: 'present', runState: run, migration: state, stamped, limits } : { presence: 'gone' },
    handoverPathOpen,
    ...(targetVerdict === 'TookOver' ? { downtimeMilliseconds: 9 } : {}),
  };
}

export const micro = (effect: SourceEffect): Micro[] =>
  effect.kind === 'issueMigrate'
    ? [
        { kind: 'note', resumeTarget: effect.resumeTarget },
        { kind: 'stamp' },
        { kind: 'migrate', resumeTarget: effect.resumeTarget },
      ]
    : [effect];

export function actOnSource(w: World, effect: Micro, base: number): World {
  const { source } = w;
  switch (effect.kind) {
    case 'note':
      return withSource(w, { issued: { at: 0, resumeTarget: effect.resumeTarget } });
    case 'recordCancel':
      return withSource(w, { cancel: effect.cause });
    case 'recordTold':
      must(source.aborted === undefined, 'the source told after it had given up');
      return withSource(w, { told: true });
    case 'recordAborted':
      must(!source.told, 'the source gave up after it had told');
      return withSource(w, { aborted: effect.cause });
    case 'publishPreflight':
    case 'publishVerdict':
    case 'publishDowntime':
      return publish(w, 'source', base, fieldsOf(w, effect));
    case 'endQemu':
      return endSource(w);
    case 'applyLimits':
      return w;
    default:
      return source.up ? actOnSourceQemu(w, effect.kind) : w;
  }
}

function actOnSourceQemu(
  w: World,
  kind: 'stamp' | 'migrate' | 'cancelTransfer' | 'continueSwitchover' | 'continueGuest' | 'issueMigrate',
): World {
  const { migration, run } = w.source;
  switch (kind) {
    case 'stamp':
      return withSource(w, { stamped: true });
    case 'migrate': {
      if (run === 'postmigrate' || ['active', 'pre-switchover', 'device'].includes(migration)) return w;
      const heard = w.target.up === 'up' && w.target.listening && w.target.migration === 'none';
      if (!heard) return withSource(w, { migration: 'failed' });
      return withTarget({ ...withSource(w, { migration: 'active' }), connected: true }, { migration: 'active' });
    }
    case 'cancelTransfer':
      return ['active', 'pre-switchover', 'device'].includes(migration)
        ? { ...withSource(w, { migration: 'cancelled' }), connected: false }
        : w;
    case 'continueSwitchover':
      return migration === 'pre-switchover' ? withSource(w, { migration: 'device' }) : w;
    case 'continueGuest':
      must(run === 'postmigrate' || run === 'paused', `cont was sent to a source in ${run}`);
      return sourceRuns(w);
    default:
      throw new Error(kind);
  }
}

export function targetFacts(w: World, migration: VirtualMachineMigration): TargetFacts {
  const { status = {} } = migration;
  const { up, run, migration: state, listening, continued, refused } = w.target;
  const source = sourceSide(status);
  const published = targetSide(status);
  return {
    resumeTarget: source?.resumeTarget ?? true,
    sourceGone: status.abort?.sourceGone === true,
    ...(source?.verdict === undefined ? {} : { sourceVerdict: source.verdict }),
    ...(up === 'notYet' ? {} : { address: '10.0.0.2' }),
    published: {
      endpoint: published?.endpoint !== undefined,
      ...(published?.verdict === undefined ? {} : { verdict: published.verdict }),
    },
    journal: { continued, refused },
    qemu:
      up === 'up'
        ? { presence: 'present', runState: run, migration: state, ...(listening ? { port: 4444 } : {}) }
        : { presence: up },
  };
}

export function actOnTarget(w: World, effect: TargetEffect, base: number): World {
  const { target } = w;
  switch (effect.kind) {
    case 'listen':
      return target.up === 'up' ? withTarget(w, { listening: true }) : w;
    case 'recordContinued':
      must(!target.refused, 'the target continues after it had refused');
      return withTarget(w, { continued: true });
    case 'recordRefused':
      must(!target.continued, 'the target refuses after it had continued');
      return withTarget(w, { refused: true });
    case 'continueGuest':
      return target.up === 'up' ? targetRuns(w) : w;
    case 'endQemu':
      return endTarget(w);
    case 'publishReady':
    case 'publishVerdict':
      return publish(w, 'target', base, fieldsOf(w, effect));
  }
}

const preflight = {
  qemuVersion: '7.2.0',
  machineType: 'q35',
  machineTypes: ['q35'],
  accelerator: 'tcg',
  cpuModel: 'qemu64',
  cpuFeatures: 'f',
  memoryBytes: 1,
  hardwareHash: 'h',
  blockers: [],
};

/** What an agent's write adds to its side. */
export function fieldsOf({ source, target }: World, effect: Micro | TargetEffect): object {
  switch (effect.kind) {
    case 'publishPreflight':
      return { preflight: { ...preflight, runState: source.run } };
    case 'publishReady':
      return { preflight: { ...preflight, runState: target.run }, endpoint: effect.endpoint };
    case 'publishDowntime':
      return { downtimeMilliseconds: effect.milliseconds };
    case 'publishVerdict':
      return {
        ...(source.issued && { resumeTarget: source.issued.resumeTarget }),
        verdict: effect.verdict,
        ...effect.cause,
      };
    default:
      return {};
  }
}
