/** What is done to the system in one run: plain data that follows from a seed and the run's number alone. */
import { Random } from './random.ts';

export const boundaries = [
  'Scheduling',
  'Checking',
  'Transferring',
  'bytesFlow',
  'preSwitchover',
  'completed',
  'tookOver',
  'ownershipMoved',
  'RollingBack',
  'ended',
] as const;

/**
 * A fact that can be watched. Phases and `ownershipMoved` are read from the object; the others are QEMU's own words and come before
 * anything is written about them.
 */
export type Boundary = (typeof boundaries)[number];

export type ProcessFault = 'kill' | 'freeze';
/** Which way is cut is told as the victim sees it. `cut-both` takes the carrier away, `black-hole` lets packets vanish. */
export type NetworkFault = 'cut-both' | 'cut-in' | 'cut-out' | 'black-hole';
type FaultKind = ProcessFault | NetworkFault;

const processVictims = [
  'controller',
  'sourceAgent',
  'targetAgent',
  'agentsAndController',
  'sourceQemu',
  'targetQemu',
  'apiServer',
  'etcd',
  'sourceLocalnode',
  'targetLocalnode',
] as const;
const networkVictims = ['sourceNode', 'targetNode', 'apiServer'] as const;

export type ProcessVictim = (typeof processVictims)[number];
export type NetworkVictim = (typeof networkVictims)[number];
type Victim = ProcessVictim | NetworkVictim;

/** It ends after this time: a process is started again or goes on, a cable is plugged in again. A killed QEMU stays dead. */
export type Fault = { readonly durationMilliseconds: number } & (
  | { readonly kind: ProcessFault; readonly who: ProcessVictim }
  | { readonly kind: NetworkFault; readonly who: NetworkVictim }
);

/** A fact and a moment more, or a time since the migration was created. */
export type Moment =
  | { readonly boundary: Boundary; readonly jitterMilliseconds: number }
  | { readonly randomMilliseconds: number };

/** What happens to the migration besides the fault. */
type Background =
  | { readonly kind: 'success' }
  /** The target's QEMU is killed while bytes flow, or the transfer takes longer than it may. */
  | { readonly kind: 'failure'; readonly by: 'killedTarget' | 'timeout' }
  | { readonly kind: 'cancel'; readonly by: 'spec' | 'deletion'; readonly moment: Moment };

/** One fault and when it begins. */
export interface Strike {
  readonly fault: Fault;
  readonly moment: Moment;
}

export interface Scenario extends Strike {
  readonly seed: number;
  readonly number: number;
  readonly background: Background;
  /** Something else that breaks in the same run. */
  readonly second?: Strike;
  /** What the transfer is held to until the fault is over, so that there is time for it; absent, it is not held back. */
  readonly maxBandwidth?: string;
  /** The migration names its target node; else the scheduler chooses. */
  readonly targetIsNamed: boolean;
}

/** Those of the project that may die at any time without a migration failing. */
export const ownProcesses: ReadonlySet<Victim> = new Set([
  'controller',
  'sourceAgent',
  'targetAgent',
  'agentsAndController',
]);

export const isOfNetwork = ({ kind }: Fault) => kind !== 'kill' && kind !== 'freeze';

/** Those without which the guest is handed over all the same. */
export const bystanders: ReadonlySet<Victim> = new Set([
  'apiServer',
  'etcd',
  'controller',
  'sourceLocalnode',
  'targetLocalnode',
]);

type Victims = Pick<Fault, 'kind' | 'who'>;
type Combination = Victims & { readonly boundary: Boundary };

const faults: readonly Victims[] = [
  ...(['kill', 'freeze'] as const).flatMap((kind) => processVictims.map((who) => ({ kind, who }))),
  ...(['cut-both', 'cut-in', 'cut-out', 'black-hole'] as const).flatMap((kind) =>
    networkVictims.map((who) => ({ kind, who })),
  ),
] as const;

/** Where there is nobody to hit, or nothing that would differ. */
const senseless: readonly ((combination: Combination) => boolean)[] = [
  // There is no target QEMU before the checks, and after the move it is just a VM.
  ({ who, boundary }) => who === 'targetQemu' && boundary === 'Scheduling',
  // After the end one of the two QEMUs is gone.
  ({ who, boundary }) => (who === 'sourceQemu' || who === 'targetQemu') && boundary === 'ended',
  // The API server has one carrier for all, the harness included.
  ({ kind, who }) => kind === 'cut-both' && who === 'apiServer',
];

/** Every kind of fault on every victim at every boundary, where that makes sense. */
export const combinations: readonly Combination[] = faults
  .flatMap((fault) => boundaries.map((boundary) => ({ ...fault, boundary })))
  .filter((combination) => !senseless.some((isSenseless) => isSenseless(combination)));

/** So early that a transfer must be held back for the fault to meet it, and a failure or a cancellation can come on top. */
const early: ReadonlySet<Boundary> = new Set(['Scheduling', 'Checking', 'Transferring', 'bytesFlow']);

/** The first runs of a series are all combinations in the seed's order; what follows is random. */
export function scenario(seed: number, number: number): Scenario {
  const random = new Random(seed, number);
  const chosen = new Random(seed).shuffled(combinations)[number];
  const { kind, who, boundary } = chosen ?? random.pick(combinations as [Combination, ...Combination[]]);
  const isTimed = chosen === undefined && random.chance(0.5);
  const moment = isTimed
    ? { randomMilliseconds: random.between(0, 1500) }
    : { boundary, jitterMilliseconds: random.chance(0.5) ? 0 : random.between(0, 50) };
  const hurries = !isTimed && !early.has(boundary) && boundary !== 'RollingBack';
  const second = chosen === undefined && random.chance(0.4) ? secondStrike(random, who) : undefined;
  const isHeldBack = isTimed ? random.chance(0.7) : !hurries;
  return {
    seed,
    number,
    background: background(random, moment),
    fault: { kind, who, durationMilliseconds: duration(random, kind, who) } as Fault,
    moment,
    ...(second && { second }),
    ...(isHeldBack && { maxBandwidth: '10Mi' }),
    // At that moment nobody could say yet who is the victim.
    targetIsNamed: [who, second?.fault.who].some((victim) => victim?.startsWith('target')) || random.chance(0.3),
  };
}

/** Of a process that the first fault leaves alone. */
function secondStrike(random: Random, first: Victim): Strike | undefined {
  const who = random.pick(processVictims);
  const kind = random.pick(['kill', 'freeze']);
  const isOwn = (victim: Victim) => ownProcesses.has(victim);
  if (who === first || (isOwn(who) && isOwn(first))) return undefined;
  const boundary = random.pick([
    'bytesFlow',
    'preSwitchover',
    'completed',
    'tookOver',
    'ownershipMoved',
    'RollingBack',
  ]);
  return {
    fault: { kind, who, durationMilliseconds: duration(random, kind, who) },
    moment: { boundary, jitterMilliseconds: random.between(0, 30) },
  };
}

function background(random: Random, moment: Moment): Background {
  const whileBytesFlow = { boundary: 'bytesFlow', jitterMilliseconds: random.between(0, 300) } as const;
  const atBoundary = 'boundary' in moment ? moment.boundary : 'bytesFlow';
  const failure = { kind: 'failure', by: random.pick(['killedTarget', 'killedTarget', 'timeout']) } as const;
  const cancel = { kind: 'cancel', by: random.pick(['spec', 'spec', 'deletion']) } as const;
  if (atBoundary === 'RollingBack') return random.chance(0.5) ? failure : { ...cancel, moment: whileBytesFlow };
  if (early.has(atBoundary) || atBoundary === 'ended') {
    const choice = random.next();
    if (choice < 0.2) return failure;
    if (choice < 0.4) return { ...cancel, moment: whileBytesFlow };
    return { kind: 'success' };
  }
  // A cancellation that races with the switchover.
  if (random.chance(0.2)) {
    return { ...cancel, moment: { boundary: atBoundary, jitterMilliseconds: random.between(0, 30) } };
  }
  return { kind: 'success' };
}

/**
 * How long faults last, and how often: as long as a restart takes; longer than a request may; longer than a lease and QEMU's `setup` may;
 * and until Kubernetes calls the node `NotReady`.
 */
const durations: readonly { readonly share: number; readonly least: number; readonly most: number }[] = [
  { share: 0.015, least: 45_000, most: 60_000 },
  { share: 0.085, least: 8_000, most: 16_000 },
  { share: 0.2, least: 1_000, most: 4_000 },
  { share: 0.7, least: 100, most: 1_000 },
];

function duration(random: Random, kind: FaultKind, who: Victim): number {
  if (kind === 'kill' && (who === 'sourceQemu' || who === 'targetQemu')) return 0;
  let rest = random.next();
  for (const { share, least, most } of durations) {
    if (rest < share) return random.between(least, most);
    rest -= share;
  }
  return 0;
}

/** `run 17 of seed 4: freeze etcd for 800 ms, 12 ms after preSwitchover; the transfer is held to 10Mi; background: cancel (spec)`. */
export function sentence(scenario: Scenario): string {
  const { seed, number, background, second, maxBandwidth, targetIsNamed } = scenario;
  return [
    `run ${number} of seed ${seed}: ${strikeText(scenario)}`,
    ...(second ? [strikeText(second)] : []),
    ...(maxBandwidth ? [`the transfer is held to ${maxBandwidth}/s`] : []),
    ...(targetIsNamed ? ['the target is named'] : []),
    `background: ${backgroundText(background)}`,
  ].join('; ');
}

function strikeText({ fault, moment }: Strike): string {
  const duration = fault.durationMilliseconds === 0 ? '' : ` for ${fault.durationMilliseconds} ms`;
  return `${fault.kind} ${fault.who}${duration}, ${momentText(moment)}`;
}

function momentText(moment: Moment): string {
  if ('randomMilliseconds' in moment) return `${moment.randomMilliseconds} ms after the start`;
  return `${moment.jitterMilliseconds} ms after ${moment.boundary}`;
}

function backgroundText(background: Background): string {
  if (background.kind === 'success') return 'none';
  if (background.kind === 'failure') return `failure (${background.by})`;
  return `cancel (${background.by}), ${momentText(background.moment)}`;
}
