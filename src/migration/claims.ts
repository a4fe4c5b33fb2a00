/** What a migration takes of the cluster's capacity, as its object and its VM show. */
import type { VirtualMachine, VirtualMachineMigration } from '../api/objects.ts';
import { isTerminal } from '../api/phases.ts';
import type { Claim, Scarce } from './capacity.ts';
import { sourceSide, targetSide } from './evidence.ts';

export interface Claimant {
  readonly migration: VirtualMachineMigration;
  readonly virtualMachine: VirtualMachine | undefined;
  /** QEMU runs in the pod that its VM is placed in. */
  readonly runs: boolean;
}

/** To leave its node: from before the first step, which takes the VM's lock, until it has ended. */
export function claimToLeave(claimant: Claimant): Claim | undefined {
  const { migration, virtualMachine } = claimant;
  const { status } = migration;
  if (isTerminal(status?.phase)) return undefined;
  if (status?.sourcePod !== undefined) return claim(migration, true, whatIsUsed(status));
  const { placement, migration: lock } = virtualMachine?.status ?? {};
  const holds = lock?.uid === migration.metadata.uid;
  const from = placement?.nodeName;
  if (from === undefined || !(holds || mayBegin(claimant))) return undefined;
  return claim(migration, holds, [{ what: 'cluster' }, { what: 'outbound', node: from }]);
}

type Status = NonNullable<VirtualMachineMigration['status']>;

/**
 * One that needs attention may do so for days. It is counted where nobody speaks for the source, off which nothing can be moved
 * anyway; it does not keep the rest of the cluster waiting.
 */
function whatIsUsed({ phase, reason, sourceNode = '' }: Status): Scarce[] {
  const leaving: Scarce = { what: 'outbound', node: sourceNode };
  if (phase !== 'NeedsAttention') return [{ what: 'cluster' }, leaving];
  return reason === 'SourceSilent' ? [leaving] : [];
}

/** Nothing but capacity keeps it from taking the lock. */
function mayBegin({ migration, virtualMachine: vm, runs }: Claimant): boolean {
  const { metadata, spec } = migration;
  return (
    metadata.deletionTimestamp === undefined &&
    !spec.cancel &&
    vm !== undefined &&
    vm.metadata.deletionTimestamp === undefined &&
    vm.spec.powerState !== 'Stopped' &&
    vm.status?.migration === undefined &&
    vm.status?.placement?.podUID !== undefined &&
    spec.target?.nodeName !== vm.status.placement.nodeName &&
    runs
  );
}

/**
 * To send to its target: from when that listens. Where it is is known only after the scheduler has placed its pod, which looks for
 * a node that it fits on; so it waits there, with its QEMU ready, and begins at once when its turn comes.
 */
export function claimToArrive(migration: VirtualMachineMigration): Claim | undefined {
  const status = migration.status ?? {};
  const { plan, abort, targetNode } = status;
  if (isTerminal(status.phase) || status.phase === 'NeedsAttention' || targetNode === undefined) return undefined;
  const arriving: Scarce[] = [{ what: 'inbound', node: targetNode }];
  if (plan !== undefined) return claim(migration, true, arriving);
  const target = targetSide(status);
  const isReady = sourceSide(status)?.preflight !== undefined && target?.endpoint !== undefined;
  const isWanted = abort === undefined && !migration.spec.cancel && migration.metadata.deletionTimestamp === undefined;
  return isReady && isWanted && target.verdict === undefined ? claim(migration, false, arriving) : undefined;
}

/** The node that it is on its way to, also if it may not send yet. */
export function arrivesAt({ status }: VirtualMachineMigration): string | undefined {
  return isTerminal(status?.phase) ? undefined : status?.targetNode;
}

/** As claims name it. */
export function nameOf({ metadata }: VirtualMachineMigration): string {
  return `${metadata.namespace}/${metadata.name}`;
}

function claim(migration: VirtualMachineMigration, holds: boolean, of: readonly Scarce[]): Claim {
  return {
    migration: nameOf(migration),
    createdAt: migration.metadata.creationTimestamp,
    holds,
    of,
  };
}
