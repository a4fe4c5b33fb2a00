/** The migrations that evictions make: how they are named and made, and when another follows one that failed. */
import { group, labels } from '../../api/labels.ts';
import type { VirtualMachine, VirtualMachineMigration } from '../../api/objects.ts';

/** Each goes to another node. */
const furtherAttempts = 2;
/** As long as events are kept; those that fail would add up otherwise. */
const keptAfterEnd = '1h';
const firstWaitMilliseconds = 10_000;
const longestWaitMilliseconds = 5 * 60_000;
/** A failure that is older says nothing of this drain. */
const forgottenAfterMilliseconds = 60 * 60_000;

/** A migration that is to be created; the API server and the controller fill in the rest. */
export type EvictionMigration = Pick<VirtualMachineMigration, 'apiVersion' | 'kind' | 'spec'> & {
  metadata: {
    name: string;
    namespace: string;
    labels: Record<string, string>;
    ownerReferences: { apiVersion: string; kind: string; name: string; uid: string }[];
  };
};

/**
 * The name alone keeps repeated evictions, and the replicas that answer them, from making two: it is that of the VM, of the pod and
 * of the number of the try. At most 63 characters.
 */
function evictionMigrationName(virtualMachineName: string, podUID: string, number: number): string {
  return `${virtualMachineName}-evict-${podUID.slice(0, 8)}-${number}`;
}

/** It goes with its VM, or an hour after its end. */
export function evictionMigration(vm: VirtualMachine, podUID: string, name: string): EvictionMigration {
  const { namespace, name: virtualMachineName, uid } = vm.metadata;
  const apiVersion = `${group}/v1alpha1`;
  return {
    apiVersion,
    kind: 'VirtualMachineMigration',
    metadata: {
      name,
      namespace,
      labels: { [labels.virtualMachine]: virtualMachineName, [labels.evictedPod]: podUID },
      ownerReferences: [{ apiVersion, kind: 'VirtualMachine', name: virtualMachineName, uid }],
    },
    spec: { virtualMachineName, backoffLimit: furtherAttempts, ttlAfterFinished: keptAfterEnd },
  };
}

export interface NextMigration {
  readonly name: string;
  /** Not before; milliseconds since the epoch. */
  readonly notBefore: number;
  /** The one before it, if that failed of late. */
  readonly failed?: VirtualMachineMigration;
}

/**
 * The migration that an eviction of this pod may make: 10 s after a failure, then after waits that double up to 5 min. One that was
 * cancelled is followed at once.
 *
 * @param migrations the VM's; none of those that evictions made is under way
 */
export function nextEvictionMigration(
  vm: VirtualMachine,
  podUID: string,
  migrations: readonly VirtualMachineMigration[],
  now: number,
): NextMigration {
  const made = migrations.filter(({ metadata }) => metadata.labels?.[labels.evictedPod] === podUID);
  const numbers = made.map(({ metadata }) => Number(/-(\d+)$/.exec(metadata.name)?.[1] ?? 0));
  const name = evictionMigrationName(vm.metadata.name, podUID, Math.max(0, ...numbers) + 1);
  const failures = made
    .filter(({ status }) => status?.phase === 'Failed')
    .map((migration) => ({ migration, at: finishedAt(migration) }))
    .filter(({ at }) => now - at < forgottenAfterMilliseconds)
    .toSorted((a, b) => a.at - b.at);
  const last = failures.at(-1);
  if (last === undefined) return { name, notBefore: now };
  const wait = Math.min(firstWaitMilliseconds * 2 ** (failures.length - 1), longestWaitMilliseconds);
  // A stamp from the future comes from another replica's clock and must not prolong the wait.
  return { name, notBefore: Math.min(last.at, now) + wait, failed: last.migration };
}

function finishedAt({ metadata, status }: VirtualMachineMigration): number {
  const finished = status?.conditions?.find(({ type }) => type === 'Finished');
  return Date.parse(finished?.lastTransitionTime ?? metadata.creationTimestamp);
}
