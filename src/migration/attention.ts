/** When nobody can say what has to be known, and an operator is asked. Nothing is touched meanwhile. */
import type { ControllerFacts, Decision } from './controller-facts.ts';
import { isSilent } from './deadlines.ts';
import { limits } from './limits.ts';
import type { Report } from './report.ts';
import { whatSettlesIt } from './where.ts';

const reasons = { source: 'SourceSilent', target: 'TargetSilent' } as const;

/**
 * The agent of that side is silent, and only it, or whoever fences its node, can say what has to be known.
 * @param what one or two sentences on what is not known, and on where the VM is.
 * @param settled what settles it; by default the return of the node, or its fencing.
 * @returns nothing when the agent is there, or has not been silent for long.
 */
export function needsAttention(
  facts: ControllerFacts,
  report: Report,
  side: 'source' | 'target',
  what: string,
  settled = fencing(facts, report, side),
): Decision | undefined {
  const agent = facts.agents[side];
  const waitsAlready = report.current.phase === 'NeedsAttention';
  const begunAt = waitsAlready ? (agent?.seenAt ?? 0) : report.phaseEnteredAt();
  if (!isSilent(agent, begunAt, facts.now)) return undefined;
  return watch(report.phase('NeedsAttention', { reason: reasons[side], message: `${what} ${settled}` }));
}

function fencing({ migration }: ControllerFacts, { current }: Report, side: 'source' | 'target'): string {
  const [nodeName = '', pod] =
    side === 'source' ? [current.sourceNode, current.sourcePod] : [current.targetNode, current.targetPod];
  return whatSettlesIt(nodeName, pod?.uid ?? '', migration);
}

/** Agents fall silent without a change of any object. */
export function watch(decision: Decision): Decision {
  return { ...decision, lookAgainAfter: limits.agentSilent / 3 };
}
