/** What an eviction is answered, and what it brings about: the VM moves away, and its pod goes when it has. */
import type { VirtualMachine, VirtualMachineMigration } from '../../api/objects.ts';
import { isTerminal } from '../../api/phases.ts';
import { isGone, type PodEvidence } from '../pod-evidence.ts';
import { nextEvictionMigration } from './eviction-migration.ts';

interface EvictedPod extends PodEvidence {
  readonly name: string;
  readonly uid: string;
  /** Of the migration that made it. */
  readonly migrationUID?: string;
}

export interface EvictionFacts {
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly dryRun: boolean;
  readonly pod: EvictedPod;
  /** Its controlling owner. */
  readonly virtualMachine: VirtualMachine;
  /** Every migration of the VM. */
  readonly migrations: readonly VirtualMachineMigration[];
}

export type EvictionEffect =
  | { readonly kind: 'createMigration'; readonly name: string; readonly podUID: string }
  | { readonly kind: 'cancelMigration'; readonly name: string; readonly uid: string };

/** An eviction that is refused is tried again by whoever drains, every 5 s in the case of `kubectl drain`. */
export type EvictionAnswer =
  | { readonly kind: 'allow' }
  | { readonly kind: 'refuse'; readonly message: string; readonly effect?: EvictionEffect };

const allow: EvictionAnswer = { kind: 'allow' };
const refuse = (message: string, effect?: EvictionEffect): EvictionAnswer =>
  effect === undefined ? { kind: 'refuse', message } : { kind: 'refuse', message, effect };

type Rule = (facts: EvictionFacts) => EvictionAnswer | undefined;

/** The first that answers decides. */
const rules: readonly Rule[] = [
  endsAnyway,
  isTarget,
  isLeftBehind,
  isBeingStopped,
  neverRan,
  isBeingMoved,
  mayBeStopped,
  isAboutToBeMoved,
  waitsAfterFailure,
];

/** Of a pod that belongs to a VM. On a dry run there is no effect; the answer is that of a real eviction. */
export function answerEviction(facts: EvictionFacts): EvictionAnswer {
  let answer: EvictionAnswer | undefined;
  for (const rule of rules) {
    answer = rule(facts);
    if (answer !== undefined) break;
  }
  answer ??= moveAway(facts);
  return facts.dryRun ? withoutEffect(answer) : answer;
}

function withoutEffect(answer: EvictionAnswer): EvictionAnswer {
  if (answer.kind === 'allow' || answer.effect === undefined) return answer;
  return refuse(`This is a dry run and starts nothing; otherwise: ${answer.message}`);
}

/** Nothing runs in it any more, or its end has begun: deleting it once more changes nothing. */
function endsAnyway({ pod }: EvictionFacts): EvictionAnswer | undefined {
  return pod.deleting || isGone(pod) ? allow : undefined;
}

/** Where a migration goes to: its eviction is the wish that it does not. */
function isTarget({ pod, virtualMachine: vm, migrations }: EvictionFacts): EvictionAnswer | undefined {
  if (isPlacement(pod, vm)) return undefined;
  const migration = migrations.find(({ metadata }) => metadata.uid === pod.migrationUID);
  if (migration === undefined || hasEnded(migration)) return undefined;
  const { name, uid } = migration.metadata;
  const what = `pod ${pod.name} is the target of vmm/${name}, which`;
  return migration.spec.cancel
    ? refuse(`${what} is being cancelled. ${story(migration)}`)
    : refuse(`${what} is cancelled because of this eviction.`, { kind: 'cancelMigration', name, uid });
}

/** It has lost, or never was, the VM. */
function isLeftBehind({ pod, virtualMachine: vm }: EvictionFacts): EvictionAnswer | undefined {
  return isPlacement(pod, vm) ? undefined : allow;
}

function isBeingStopped({ pod, virtualMachine: { metadata, spec } }: EvictionFacts): EvictionAnswer | undefined {
  const stops = metadata.deletionTimestamp !== undefined || spec.powerState === 'Stopped';
  return stops ? refuse(`vm/${metadata.name} is being powered down; pod ${pod.name} goes when it has.`) : undefined;
}

/** It has no memory to be saved, and starts on another node. */
function neverRan({ pod }: EvictionFacts): EvictionAnswer | undefined {
  const { state } = pod.container;
  return (state === 'unreported' || state === 'waiting') && pod.rejection === undefined ? allow : undefined;
}

function isBeingMoved({ pod, virtualMachine: vm, migrations }: EvictionFacts): EvictionAnswer | undefined {
  const lock = vm.status?.migration;
  if (lock === undefined) return undefined;
  const migration = migrations.find(({ metadata }) => metadata.uid === lock.uid);
  if (migration !== undefined && migration.metadata.uid === pod.migrationUID)
    return refuse(
      `vmm/${lock.name} has just moved vm/${vm.metadata.name} to ${pod.nodeName}; it is moved on when that has ended.`,
    );
  return refuse(carriesAway(lock.name, vm, pod, migration));
}

/** The node ends the pod, and the guest has the time of the pod's `preStop` to power itself down. */
function mayBeStopped({ virtualMachine: { spec } }: EvictionFacts): EvictionAnswer | undefined {
  return spec.evictionPolicy === 'Stop' ? allow : undefined;
}

/** One that waits for its turn, whoever made it. */
function isAboutToBeMoved({ pod, virtualMachine: vm, migrations }: EvictionFacts): EvictionAnswer | undefined {
  const waiting = migrations.find((migration) => !hasEnded(migration) && !migration.spec.cancel);
  return waiting && refuse(carriesAway(waiting.metadata.name, vm, pod, waiting));
}

function waitsAfterFailure({ pod, virtualMachine: vm, migrations, now }: EvictionFacts): EvictionAnswer | undefined {
  const { failed, notBefore } = nextEvictionMigration(vm, pod.uid, migrations, now);
  if (failed === undefined || now >= notBefore) return undefined;
  return refuse(
    `${whyFailed(failed)} The next eviction after ${new Date(notBefore).toISOString()} makes another migration.`,
  );
}

function moveAway({ pod, virtualMachine: vm, migrations, now }: EvictionFacts): EvictionAnswer {
  const { name, failed } = nextEvictionMigration(vm, pod.uid, migrations, now);
  const message = `vmm/${name} is made to carry vm/${vm.metadata.name} away from ${pod.nodeName}.`;
  return refuse(failed === undefined ? message : `${message} ${whyFailed(failed)}`, {
    kind: 'createMigration',
    name,
    podUID: pod.uid,
  });
}

function isPlacement(pod: EvictedPod, { status }: VirtualMachine): boolean {
  return status?.placement?.podUID === pod.uid;
}

function hasEnded({ status, metadata }: VirtualMachineMigration): boolean {
  return isTerminal(status?.phase) || metadata.deletionTimestamp !== undefined;
}

function carriesAway(
  name: string,
  vm: VirtualMachine,
  pod: EvictedPod,
  migration: VirtualMachineMigration | undefined,
): string {
  return `vmm/${name} carries vm/${vm.metadata.name} away from ${pod.nodeName}. ${story(migration)}`.trim();
}

function whyFailed(migration: VirtualMachineMigration): string {
  return `vmm/${migration.metadata.name} failed: ${story(migration)}`;
}

/** What a migration says of itself, as far as it has said anything. */
function story(migration: VirtualMachineMigration | undefined): string {
  const { phase, reason, message } = migration?.status ?? {};
  const word = reason ?? phase;
  return word === undefined ? '' : `${word}: ${message ?? ''}`.trim();
}
