/**
 * When waiting has lasted long enough. A deadline of the controller counts only while everybody concerned is there: it begins anew
 * with each agent that comes back, and fires only when each was heard of after it. So no outage of the controller, of an agent or
 * of the API server makes one fire: what an agent has to say by then is read first.
 */
import type { AgentPresence } from './controller-facts.ts';
import { limits } from './limits.ts';

/** Times in milliseconds since the epoch by the controller's clock, `limit` in milliseconds. */
export function expired(
  begunAt: number,
  limit: number,
  now: number,
  agents: readonly (AgentPresence | undefined)[],
): boolean {
  const present = agents.filter((agent) => agent !== undefined);
  const deadline = Math.max(begunAt, ...present.map(({ since }) => since)) + limit;
  return present.length === agents.length && now >= deadline && present.every(({ seenAt }) => seenAt >= deadline);
}

/** Nothing was heard of an agent for so long that it cannot be said to be there; nor since `begunAt`, when it came to be needed. */
export function isSilent(agent: AgentPresence | undefined, begunAt: number, now: number): boolean {
  return now - Math.max(agent?.seenAt ?? begunAt, begunAt) > limits.agentSilent;
}
