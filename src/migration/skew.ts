/** May controller and agents of these releases work together? Answered before anything is sent. */
import { type ProtocolRange, protocol } from '../api/protocol.ts';
import type { Cause } from './cause.ts';

/** An agent, and what it has published; nothing, if it is of a release that did not publish it yet. */
export interface AgentRelease {
  readonly node: string;
  readonly speaks: ProtocolRange | undefined;
}

/** @returns the newest protocol that all of them speak, or why there is none. */
export function agree(ours: ProtocolRange, agents: readonly AgentRelease[]): number | Cause {
  const refused = agents.map((agent) => refusal(ours, agent)).find((cause) => cause !== undefined);
  if (refused !== undefined) return refused;
  const ranges = [ours, ...agents.flatMap(({ speaks }) => speaks ?? [])];
  const newest = Math.min(...ranges.map((range) => range.newest));
  return ranges.every(({ oldest }) => oldest <= newest) ? newest : tooFarApart(agents, newest);
}

function refusal(ours: ProtocolRange, { node, speaks }: AgentRelease): Cause | undefined {
  if (speaks === undefined || speaks.newest < ours.oldest) {
    const said = speaks === undefined ? 'does not say which protocol it speaks' : `speaks the protocol ${tell(speaks)}`;
    const message = `The agent on ${node} ${said}, and this controller speaks ${tell(ours)}. Update the agents, and the CRDs before them.`;
    return { reason: 'AgentTooOld', message };
  }
  if (speaks.oldest <= ours.newest) return undefined;
  const message = `The agent on ${node} speaks the protocol ${tell(speaks)}, and this controller ${tell(ours)}. Update the controller.`;
  return { reason: 'AgentTooNew', message };
}

/** Each of the two agents could work with the controller, and not with the other. */
function tooFarApart(agents: readonly AgentRelease[], newest: number): Cause {
  const older = agents.find(({ speaks }) => speaks?.newest === newest);
  const message = `The agent on ${older?.node} speaks the protocol up to ${newest}, and the other agent only newer ones. Update the agents.`;
  return { reason: 'AgentTooOld', message };
}

function tell({ oldest, newest }: ProtocolRange): string {
  return oldest === newest ? `version ${newest}` : `versions ${oldest} to ${newest}`;
}

/** Why an agent that is told to send by this protocol does not. A controller that names none does not know of any. */
export function unspoken(asked: number | undefined): Cause | undefined {
  if (asked !== undefined && asked >= protocol.oldest && asked <= protocol.newest) return undefined;
  const said = asked === undefined ? 'no protocol' : `the protocol version ${asked}`;
  const isNewer = asked !== undefined && asked > protocol.newest;
  const cure = isNewer ? 'Update the agents.' : 'Update the CRDs and the controller.';
  const message = `The plan names ${said}, and the source's agent speaks ${tell(protocol)}. ${cure}`;
  return { reason: isNewer ? 'AgentTooOld' : 'ControllerTooOld', message };
}
