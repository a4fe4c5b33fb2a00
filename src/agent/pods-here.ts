/** What the caches of this node say of one of its pods. */
import { isTerminal } from '../api/phases.ts';
import type { Pod } from '../kube/core-resources.ts';
import type { AgentContext } from './context.ts';

export function podOf({ pods }: Pick<AgentContext, 'pods'>, podUID: string): Pod | undefined {
  return pods.cache.list().find(({ metadata }) => metadata.uid === podUID);
}

/** Whether a migration under way has this pod as its source or its target. */
export function isMigrating(
  { outgoing, incoming }: Pick<AgentContext, 'outgoing' | 'incoming'>,
  podUID: string,
): boolean {
  return [...outgoing.cache.list(), ...incoming.cache.list()].some(
    ({ status }) => !isTerminal(status?.phase) && [status?.sourcePod?.uid, status?.targetPod?.uid].includes(podUID),
  );
}
