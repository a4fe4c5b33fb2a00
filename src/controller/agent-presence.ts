/**
 * Since when, and until when, an agent was at work, as far as this process has seen it. Only renewals that happen while this process
 * watches count, and only by its own clock: what a deadline measures then stands still while the controller, the agent or the
 * API server is away, and clocks of different hosts are never compared.
 */
import {
  agentLeaseDurationMilliseconds,
  agentLeaseLabel,
  agentLeaseName,
  nodeOfAgentLease,
} from '../api/agent-lease.ts';
import type { KubeClient } from '../kube/client.ts';
import { type Lease, leases } from '../kube/core-resources.ts';
import { Informer } from '../kube/informer.ts';
import { type Observation, observeLease } from '../kube/lease-record.ts';
import type { AgentPresence } from '../migration/controller-facts.ts';
import type { Logger } from '../observability/logger.ts';

/** What is remembered of one lease. */
export interface Sighting extends Observation {
  /** Absent until a renewal was seen: a lease that is just there may be years old. */
  readonly presence?: AgentPresence;
}

/**
 * Takes note of a lease as it is now.
 *
 * @param isNews whether the lease, if it was not known before, was created while this process watched
 */
export function sight(before: Sighting | undefined, lease: Lease, now: number, isNews: boolean): Sighting {
  const observation = observeLease(before, lease, now);
  if (before === undefined) return isNews ? { ...observation, presence: { since: now, seenAt: now } } : observation;
  if (observation === before) return before;
  const { presence, spec } = before;
  const stayed =
    presence !== undefined &&
    spec.holderIdentity === observation.spec.holderIdentity &&
    now - presence.seenAt <= agentLeaseDurationMilliseconds;
  return { ...observation, presence: { since: stayed ? presence.since : now, seenAt: now } };
}

export interface AgentPresences extends AsyncDisposable {
  /** Made, not started. Whoever waits for an agent is to look again when its lease changes. */
  readonly leases: Informer<Lease>;
  /** Undefined when the agent of the node was not seen at work. */
  presenceOf(nodeName: string): AgentPresence | undefined;
}

export function createAgentPresences(
  client: KubeClient,
  { namespace, now, logger }: { namespace: string; now: () => number; logger: Logger },
): AgentPresences {
  const labelSelector = `${agentLeaseLabel.name}=${agentLeaseLabel.value}`;
  const informer = new Informer(client, leases, { namespace, labelSelector, logger });
  const sightings = new Map<string, Sighting>();
  let isListed = false;
  informer.synced().then(
    () => {
      isListed = true;
    },
    () => undefined,
  );
  informer.onChange((_key, current, previous) => {
    const { name = '' } = (current ?? previous)?.metadata ?? {};
    if (nodeOfAgentLease(name) === undefined) return;
    if (current === undefined) sightings.delete(name);
    else sightings.set(name, sight(sightings.get(name), current, now(), isListed));
  });
  return {
    leases: informer,
    presenceOf: (nodeName) => sightings.get(agentLeaseName(nodeName))?.presence,
    [Symbol.asyncDispose]: () => informer[Symbol.asyncDispose](),
  };
}
