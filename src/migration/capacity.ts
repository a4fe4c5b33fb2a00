/**
 * Who may go on, and who waits: migrations share the network and the CPUs of their nodes. Places are counted from the objects as
 * they are, so that a new leader counts the same; nobody who has a place loses it.
 */

/** How many migrations may be under way at once; each at least 1. */
export interface MigrationLimits {
  readonly perCluster: number;
  readonly outboundPerNode: number;
  readonly inboundPerNode: number;
}

/**
 * KubeVirt's, which has no bound inbound, nor has Nova (one outbound per host). Here what arrives is bounded as what leaves: two
 * nodes that are drained at once would else send everything to a third.
 */
export const defaultMigrationLimits: MigrationLimits = { perCluster: 5, outboundPerNode: 2, inboundPerNode: 2 };

/** Something of which there is only so much. */
export type Scarce = { what: 'cluster' } | { what: 'outbound' | 'inbound'; node: string };

/** What one migration has, or wants all at once. */
export interface Claim {
  /** `namespace/name`. */
  readonly migration: string;
  /** When the migration was created, as the API server writes it. */
  readonly createdAt: string;
  readonly holds: boolean;
  readonly of: readonly Scarce[];
}

export interface Waiting {
  readonly for: Scarce;
  /** In the queue of those that wait for the same; 1 is next. */
  readonly place: number;
}

/**
 * The oldest goes first. One that has to wait lets younger ones pass that want something else, and keeps nothing from them: it
 * cannot starve, because whatever it waits for goes to it as soon as that and the rest is free.
 *
 * @returns those that have to wait, by migration
 */
export function whoWaits(claims: readonly Claim[], limits: MigrationLimits): Map<string, Waiting> {
  const taken = new Counts();
  const queued = new Counts();
  for (const { holds, of } of claims) if (holds) for (const scarce of of) taken.add(scarce);
  const waiting = new Map<string, Waiting>();
  for (const { migration, of } of claims.filter(({ holds }) => !holds).sort(byAge)) {
    const full = of.find((scarce) => taken.of(scarce) >= limitOf(scarce, limits));
    if (full === undefined) for (const scarce of of) taken.add(scarce);
    else waiting.set(migration, { for: full, place: queued.add(full) });
  }
  return waiting;
}

/** @returns the nodes at which no more may arrive now, if all that are on their way there were to be sent. */
export function fullNodes(arrivals: readonly string[], { inboundPerNode }: MigrationLimits): string[] {
  const counts = new Counts();
  const full = arrivals.filter((node) => counts.add({ what: 'inbound', node }) === inboundPerNode);
  return full.sort();
}

function limitOf({ what }: Scarce, limits: MigrationLimits): number {
  return { cluster: limits.perCluster, outbound: limits.outboundPerNode, inbound: limits.inboundPerNode }[what];
}

/** Creation times have seconds only: of one second, the names decide, for every leader alike. */
function byAge(left: Claim, right: Claim): number {
  return compare(left.createdAt, right.createdAt) || compare(left.migration, right.migration);
}

function compare(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

class Counts {
  readonly #counts = new Map<string, number>();

  of(scarce: Scarce): number {
    return this.#counts.get(keyOf(scarce)) ?? 0;
  }

  add(scarce: Scarce): number {
    const count = this.of(scarce) + 1;
    this.#counts.set(keyOf(scarce), count);
    return count;
  }
}

function keyOf(scarce: Scarce): string {
  return scarce.what === 'cluster' ? 'cluster' : `${scarce.what}/${scarce.node}`;
}

const subjects = {
  cluster: () => 'in the cluster',
  outbound: (node: string) => `away from ${node}`,
  inbound: (node: string) => `to ${node}`,
};

/** For what it waits, and where it stands, in one sentence. */
export function describeWaiting({ for: scarce, place }: Waiting, limits: MigrationLimits): string {
  const limit = limitOf(scarce, limits);
  const subject = subjects[scarce.what](scarce.what === 'cluster' ? '' : scarce.node);
  const moves = limit === 1 ? 'One VM is being moved' : `${limit} VMs are being moved`;
  return `${moves} ${subject}, as many as may be at once; it is ${placeInWords(place)} in the queue.`;
}

/** Exact near the front: each change is a write for everybody who waits, and far behind nobody counts. */
function placeInWords(place: number): string {
  if (place === 1) return 'next';
  const steps = [100, 50, 20, 10, 5];
  const passed = steps.find((step) => place > step);
  return passed === undefined ? `number ${place}` : `behind ${passed} or more others`;
}
