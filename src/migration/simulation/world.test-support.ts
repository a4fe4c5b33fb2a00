/**
 * A small world for the three step functions: two QEMUs as they were seen to behave, two agents of which only journal and QEMU
 * survive a crash, a kubelet that tells late, and an object that everybody reads as it was some writes ago. What must never happen
 * throws.
 */
import type { VirtualMachineMigration } from '../../api/objects.ts';
import type { ControllerEffect } from '../controller-facts.ts';
import type { controllerStep } from '../controller-step.ts';
import type { Cause, SourceEffect, sourceStep } from '../source-step.ts';
import type { TargetEffect, targetStep } from '../target-step.ts';

export interface Steps {
  sourceStep: typeof sourceStep;
  targetStep: typeof targetStep;
  controllerStep: typeof controllerStep;
}

export type Micro = SourceEffect | { kind: 'note' | 'migrate'; resumeTarget: boolean } | { kind: 'stamp' };

/** What an agent or the controller has decided and not yet done, and the version of the object (by its number) it decided on. */
interface Pending<E> {
  base: number;
  effects: E[];
  begun: boolean;
}

export interface World {
  source: {
    up: boolean;
    run: string;
    migration: string;
    stamped: boolean;
    /** It ran on after it had stopped for the switchover: whatever the target has loaded is old. */
    ranOn: boolean;
    /** The kubelet has told that the container ended. */
    endTold: boolean;
    deleting: boolean;
    removed: boolean;
    issued?: { at: number; resumeTarget: boolean };
    cancel?: Cause;
    aborted?: Cause;
    told: boolean;
  };
  target: {
    pod: 'none' | 'waiting' | 'placed' | 'removed';
    up: 'notYet' | 'up' | 'gone';
    run: string;
    migration: string;
    listening: boolean;
    ran: boolean;
    endTold: boolean;
    deleting: boolean;
    continued: boolean;
    refused: boolean;
  };
  connected: boolean;
  vm: { locked: boolean; owner: 'source' | 'target' };
  /** Numbers of the versions of the migration object that somebody may still read, oldest first. */
  versions: number[];
  /** How many versions each has not been told of yet. */
  behind: { source: number; target: number; controller: number };
  pending: { source?: Pending<Micro>; target?: Pending<TargetEffect>; controller?: Pending<ControllerEffect> };
  /** A write that the API server gets later than its sender believes, and the effects of a leader that fell asleep. */
  lateWrite?: { side: 'source' | 'target'; base: number; fields: object };
  asleep?: ControllerEffect[];
  objectRemoved: boolean;
  faults: number;
  wish: boolean;
  /** A deadline of the controller has passed: what an agent had noted by then, and not said, is not known to anybody. */
  waitedInVain: boolean;
}

export interface Beginning {
  faults: number;
  /** Whether the owner may cancel or delete at any time. */
  wish?: boolean;
  guest?: 'running' | 'paused';
  /** What `query-migrate` still says of an earlier migration. */
  earlier?: 'none' | 'completed' | 'failed';
}

export class Violation extends Error {}

export function must(condition: boolean, rule: string): void {
  if (!condition) throw new Violation(rule);
}

const migrations: VirtualMachineMigration[] = [];
const numbers = new Map<string, number>();

export function numberOf(migration: VirtualMachineMigration): number {
  const text = JSON.stringify(migration);
  const known = numbers.get(text);
  if (known !== undefined) return known;
  numbers.set(text, migrations.length);
  return migrations.push(migration) - 1;
}

export function version(number: number): VirtualMachineMigration {
  const migration = migrations[number];
  if (migration === undefined) throw new Error('no such version');
  return migration;
}

export const latest = (w: World) => version(w.versions.at(-1) ?? 0);

export const metadata = {
  namespace: 'default',
  resourceVersion: '1',
  generation: 1,
  creationTimestamp: '1970-01-01T00:00:00.000Z',
};

export function begin({ faults, wish = false, guest = 'running', earlier = 'none' }: Beginning): World {
  const object = numberOf({
    apiVersion: 'vmferry.io/v1alpha1',
    kind: 'VirtualMachineMigration',
    metadata: { ...metadata, name: 'move', uid: 'move-uid', finalizers: ['vmferry.io/migration'] },
    spec: { virtualMachineName: 'web' },
  });
  return {
    source: {
      up: true,
      run: guest,
      migration: earlier,
      stamped: false,
      ranOn: false,
      endTold: false,
      deleting: false,
      removed: false,
      told: false,
    },
    target: {
      pod: 'none',
      up: 'notYet',
      run: '',
      migration: 'none',
      listening: false,
      ran: false,
      endTold: false,
      deleting: false,
      continued: false,
      refused: false,
    },
    connected: false,
    vm: { locked: false, owner: 'source' },
    versions: [object],
    behind: { source: 0, target: 0, controller: 0 },
    pending: {},
    objectRemoved: false,
    faults,
    wish,
    waitedInVain: false,
  };
}

export function write(w: World, migration: VirtualMachineMigration): World {
  return append(w, numberOf(bare(migration)));
}

/** Times and conditions decide nothing that is looked at here, and would make endlessly many states of one. */
export function bare(migration: VirtualMachineMigration): VirtualMachineMigration {
  if (migration.status === undefined) return migration;
  const { conditions, timeline, observedGeneration: _, ...status } = migration.status;
  const entered = status.phase === undefined ? [] : [{ phase: status.phase, at: metadata.creationTimestamp }];
  return { ...migration, status: { ...status, timeline: entered } };
}

export function append(w: World, number: number): World {
  const behind = { source: w.behind.source + 1, target: w.behind.target + 1, controller: w.behind.controller + 1 };
  return trim({ ...w, versions: [...w.versions, number], behind });
}

export function trim(w: World): World {
  const { source, target, controller } = w.behind;
  const needed = Math.max(source, target, controller) + 1;
  return w.versions.length > needed ? { ...w, versions: w.versions.slice(-needed) } : w;
}

export const withSource = (w: World, change: Partial<World['source']>): World => ({
  ...w,
  source: { ...w.source, ...change },
});
export const withTarget = (w: World, change: Partial<World['target']>): World => ({
  ...w,
  target: { ...w.target, ...change },
});

export function sourceRuns(w: World): World {
  must(w.target.run !== 'running', 'I1: two copies run');
  must(!w.target.ran, 'I1: the source runs after the target has');
  return withSource(w, { run: 'running', ranOn: w.source.ranOn || w.source.run !== 'running' });
}

export function targetRuns(w: World): World {
  must(w.target.run !== 'inmigrate', 'cont was sent to a target that is not complete');
  if (w.target.run !== 'paused') return w;
  must(w.source.run !== 'running', 'I1: two copies run');
  must(!w.source.ranOn, 'I1: the target runs from older memory than the source had run');
  must(latest(w).status?.source?.verdict === 'Completed', 'the target runs before the source said Completed');
  return withTarget(w, { run: 'running', ran: true });
}

export function endSource(w: World): World {
  if (!w.source.up) return w;
  must(w.vm.owner === 'target', 'the source is ended before ownership has moved');
  must(w.target.continued, 'I2: the source is ended while the target has not taken over');
  return withSource(w, { up: false, run: 'gone' });
}

export function endTarget(w: World): World {
  if (w.target.up !== 'up') return w;
  must(!w.target.continued, 'I2: a target that may have run is ended');
  must(
    w.source.up || !w.source.told || w.waitedInVain,
    'I2: the newest copy is ended: the source had told and is gone',
  );
  return withTarget(w, { up: 'gone', run: 'gone' });
}

/** The agents' write: refused when attempt or sequence are not those that were read. Afterwards the writer knows the newest state. */
export function publish(w: World, side: 'source' | 'target', base: number, fields: object): World {
  const written = write(w, patched(w, side, base, fields));
  return trim({ ...written, behind: { ...written.behind, [side]: 0 } });
}

export function patched(w: World, side: 'source' | 'target', base: number, fields: object): VirtualMachineMigration {
  const read = version(base).status ?? {};
  const now = latest(w);
  const before = read[side];
  const passes =
    now.status?.attempt === read.attempt &&
    before !== undefined &&
    now.status?.[side]?.sequence === before.sequence &&
    !w.objectRemoved;
  if (!passes) return now;
  const podUID = side === 'source' ? read.sourcePod?.uid : read.targetPod?.uid;
  const value = { ...before, ...fields, attempt: read.attempt, podUID, sequence: (before?.sequence ?? 0) + 1 };
  const old = now.status?.[side]?.verdict;
  const fresh = (value as { verdict?: string }).verdict;
  must(old === undefined || old === fresh || (old === 'Completed' && fresh === 'Resumed'), `${old} was taken back`);
  return { ...now, status: { ...now.status, [side]: value } };
}
