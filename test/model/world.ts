/**
 * The world as one state: everything that the future can depend on, in small numbers. Names of fields are those of the facts;
 * what begins with `really` is known to nobody in the world: the rules are checked against it.
 */
import { numbered, record } from './record.ts';

/** QEMU's run states and the states of `query-migrate` that occur here. */
export const runStates = ['none', 'running', 'paused', 'inmigrate', 'finish-migrate', 'postmigrate'] as const;
export const migrationStates = [
  'none',
  'setup',
  'active',
  'pre-switchover',
  'device',
  'postcopy-active',
  'postcopy-paused',
  'completed',
  'failed',
  'cancelled',
] as const;
export const Run = numbered(runStates);
export const Migration = numbered(migrationStates);

export const Qemu = numbered(['notYet', 'up', 'gone']);
export const Node = numbered(['up', 'dead', 'rebooted']);
/** `waits`: no connection yet; `hole`: nothing arrives, and nobody is told; `cut`: both ends see it closed. */
export const Connection = numbered(['waits', 'open', 'hole', 'cut']);
/** Whether the guest ran when `migrate` was issued, or that it was not issued. */
export const Issued = numbered(['no', 'running', 'stopped']);

/** What a pod's object says; bits only ever come, so that two equal values are the same version. */
export const Pod = {
  exists: 1,
  placed: 2,
  deleting: 4,
  terminated: 8,
  exitedCleanly: 16,
  fenced: 32,
  removed: 64,
  /** Created once more under the same name, by a leader that had slept. */
  again: 128,
} as const;

export const podExists = (pod: number) => (pod & Pod.exists) !== 0 && (pod & Pod.removed) === 0;

export const attempts = [1, 2] as const;

export const Owner = numbered(['source', 'firstTarget', 'secondTarget', 'restarted']);
export const Lock = numbered(['never', 'held', 'released', 'others']);
export const VmWish = numbered(['none', 'stop', 'delete']);

/** The VirtualMachine's object in one number. */
export const vm = {
  of: (owner: number, lock: number, wish: number) => owner | (lock << 2) | (wish << 4),
  owner: (code: number) => code & 3,
  lock: (code: number) => (code >> 2) & 3,
  wish: (code: number) => (code >> 4) & 3,
};

/** A verdict of the target's agent, 0 for none. */
export const targetVerdicts = [undefined, 'TookOver', 'Refused', 'Gone', 'Lost'] as const;

const commonRecord = record(['faults', 'wishes', 'vm', 'deadline'], ['object']);
const controllerRecord = record(
  ['vm', 'sourcePod', 'firstPod', 'secondPod', 'asleepVm'],
  ['seen', 'pending', 'asleep', 'asleepSeen'],
);
const sourceRecord = record(
  [
    'qemu',
    'run',
    'migration',
    'stamp',
    'frozen',
    'exit',
    'pod',
    'node',
    'attempt',
    'issued',
    'cancel',
    'told',
    'aborted',
    'tidied',
    'heard',
    'handover',
    'asksRefusal',
    'traces',
  ],
  ['seen', 'pending', 'queue', 'late'],
);
const targetRecord = record(
  [
    'qemu',
    'run',
    'migration',
    'listening',
    'connection',
    'silent',
    'pod',
    'node',
    'exit',
    'heard',
    'refusalAsked',
    'continued',
    'refused',
    'tidied',
    'traces',
    'reallyContinued',
    'reallyRan',
    'reallyOld',
  ],
  ['seen', 'pending', 'queue', 'late'],
);

export type Common = ReturnType<typeof commonRecord.over>;
export type Controller = ReturnType<typeof controllerRecord.over>;
export type Source = ReturnType<typeof sourceRecord.over>;
export type Target = ReturnType<typeof targetRecord.over>;

const parts = [commonRecord, controllerRecord, sourceRecord, targetRecord, targetRecord];
const worldBytes = Math.ceil(parts.reduce((sum, { bytes }) => sum + bytes, 0) / 4) * 4;

export class World {
  readonly words = new Int32Array(worldBytes / 4);
  readonly common: Common;
  readonly controller: Controller;
  readonly source: Source;
  readonly targets: readonly [Target, Target];
  /** The rule that was broken on the way here; not part of the state. */
  broken: string | undefined;

  constructor() {
    const bytes = new Uint8Array(this.words.buffer);
    let offset = 0;
    const next = (size: number) => {
      offset += size;
      return offset - size;
    };
    this.common = commonRecord.over(bytes, next(commonRecord.bytes));
    this.controller = controllerRecord.over(bytes, next(controllerRecord.bytes));
    this.source = sourceRecord.over(bytes, next(sourceRecord.bytes));
    const first = targetRecord.over(bytes, next(targetRecord.bytes));
    this.targets = [first, targetRecord.over(bytes, next(targetRecord.bytes))];
  }

  /** Becomes a copy of `other`. */
  copy(other: World): this {
    const { words } = this;
    for (let word = 0; word < words.length; word++) words[word] = other.words[word] ?? 0;
    this.broken = undefined;
    return this;
  }

  equals(other: World): boolean {
    const { words } = this;
    for (let word = 0; word < words.length; word++) if (words[word] !== other.words[word]) return false;
    return this.broken === undefined;
  }

  /** The first rule broken is kept. */
  must(condition: boolean, rule: string): void {
    if (!condition) this.broken ??= rule;
  }

  /** The target of an attempt, counted from 1. */
  target(attempt: number): Target {
    return attempt === 2 ? this.targets[1] : this.targets[0];
  }

  get bytes(): number {
    return worldBytes;
  }
}
