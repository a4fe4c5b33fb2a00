/** The Lease by which the agent of a node shows that it works, in the namespace of the system. */

/** On every agent's lease, for those who look for them all. */
export const agentLeaseLabel = { name: 'vmferry.io/component', value: 'agent' } as const;

/** Between two renewals, in milliseconds. */
export const agentLeaseRenewMilliseconds = 10_000;

/** A holder that was not seen to renew for longer than this was away, in milliseconds. */
export const agentLeaseDurationMilliseconds = 30_000;

const prefix = 'agent.';

/** @param nodeName at most 247 characters, so that the lease's name is one */
export function agentLeaseName(nodeName: string): string {
  return prefix + nodeName;
}

/** Whose agent keeps the lease of this name; undefined for a lease that no agent keeps. */
export function nodeOfAgentLease(leaseName: string): string | undefined {
  return leaseName.startsWith(prefix) ? leaseName.slice(prefix.length) : undefined;
}
