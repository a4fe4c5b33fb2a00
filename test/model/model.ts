/** What one exploration is about: the steps, what may happen, and what was decided before on the same facts. */
import type { controllerStep } from '../../src/migration/controller-step.ts';
import type { sourceStep } from '../../src/migration/source-step.ts';
import type { targetStep } from '../../src/migration/target-step.ts';

export interface Steps {
  sourceStep: typeof sourceStep;
  targetStep: typeof targetStep;
  controllerStep: typeof controllerStep;
}

/** What may go wrong; each costs one of the faults that are allowed. */
const faultKinds = [
  'source agent crashes',
  'target agent crashes',
  'controller crashes',
  'leader sleeps',
  'write delayed',
  'write unanswered',
  'source QEMU dies',
  'target QEMU dies',
  'source node dies',
  'target node dies',
  'connection lost',
  'connection silent',
  'target silent',
  'path unclear',
  'deadline',
] as const;
export type FaultKind = (typeof faultKinds)[number];

/** What people and guests may want; each costs one of the wishes that are allowed. */
const wishKinds = ['cancel', 'delete', 'stop the VM', 'delete the VM', 'another migration', 'power off'] as const;
export type WishKind = (typeof wishKinds)[number];

export interface Configuration {
  name: string;
  /** Where it begins: with the new migration, or later on the undisturbed way, when everybody knows everything. */
  from?: 'the beginning' | 'transferring' | 'switching over' | 'the source complete';
  guest?: 'running' | 'paused' | 'returned';
  /** What `query-migrate` still says of an earlier migration. */
  earlier?: 'none' | 'completed' | 'failed';
  encrypted?: boolean;
  postCopy?: boolean;
  backoffLimit?: 0 | 1;
  faults?: number;
  faultKinds?: readonly FaultKind[];
  /** These cost nothing, and may happen any number of times. */
  freeFaults?: readonly FaultKind[];
  wishes?: number;
  wishKinds?: readonly WishKind[];
  /** What every end has to be. */
  mustSucceed?: boolean;
  /** Only to prove that the check can fail: the VM is started again also while it is locked. */
  startsWhileLocked?: boolean;
  maxStates?: number;
}

export class Model {
  readonly steps: Steps;
  readonly configuration: Configuration;
  readonly decisions = {
    source: new Map<string, number>(),
    target: new Map<string, number>(),
    controller: new Map<string, unknown>(),
  };
  readonly #faults: ReadonlySet<FaultKind>;
  readonly #free: ReadonlySet<FaultKind>;
  readonly #wishes: ReadonlySet<WishKind>;

  constructor(steps: Steps, configuration: Configuration) {
    this.steps = steps;
    this.configuration = configuration;
    this.#faults = new Set(configuration.faultKinds ?? faultKinds);
    this.#free = new Set(configuration.freeFaults);
    this.#wishes = new Set(configuration.wishKinds ?? wishKinds);
  }

  /** What a fault costs now, or undefined when it may not happen. */
  priceOf(kind: FaultKind, left: number): 0 | 1 | undefined {
    if (this.#free.has(kind)) return 0;
    return left > 0 && this.#faults.has(kind) ? 1 : undefined;
  }

  allows(kind: WishKind, left: number): boolean {
    return left > 0 && this.#wishes.has(kind);
  }
}
