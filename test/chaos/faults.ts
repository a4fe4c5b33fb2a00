/** How each fault is done, and undone. */
import { readFileSync } from 'node:fs';
import type { Cluster } from '../cluster/cluster.ts';
import type { ManagedProcess } from '../cluster/managed-process.ts';
import type { Cables } from './cables.ts';
import type { Keeper } from './keeper.ts';
import { type PodFolder, pidIn } from './pod-folders.ts';
import type { Fault, NetworkVictim, ProcessFault, ProcessVictim } from './scenario.ts';

/** Who is who in this run; the target as far as it is known by now. */
export interface Cast {
  readonly cluster: Cluster;
  readonly keeper: Keeper;
  readonly cables: Cables | undefined;
  readonly sourceNode: string;
  readonly sourcePod: PodFolder;
  readonly targetNode: string | undefined;
  readonly targetPod: PodFolder | undefined;
}

export type Relief = () => Promise<void>;

/** Hits the victim. Returns what ends the fault, or undefined when there is no such victim yet, or any more. */
export async function strike(cast: Cast, fault: Fault): Promise<Relief | undefined> {
  if (fault.kind === 'kill' || fault.kind === 'freeze') {
    if (fault.who === 'sourceQemu') return strikeQemu(cast.sourcePod, fault.kind);
    if (fault.who === 'targetQemu') return strikeQemu(cast.targetPod, fault.kind);
    return await strikeProcesses(cast, fault.who, fault.kind);
  }
  if (fault.who === 'apiServer') return await cast.cables?.cutApiServer(fault.kind);
  const node = nodeOf(cast, fault.who);
  return node === undefined ? undefined : await cast.cables?.cutNode(node, fault.kind);
}

function nodeOf(cast: Cast, who: NetworkVictim | ProcessVictim): string | undefined {
  return who.startsWith('target') ? cast.targetNode : cast.sourceNode;
}

export function strikeQemu(pod: PodFolder | undefined, kind: ProcessFault): Relief | undefined {
  const pid = pod && pidIn(pod);
  if (pid === undefined || !isQemu(pid)) return undefined;
  process.kill(pid, kind === 'kill' ? 'SIGKILL' : 'SIGSTOP');
  return async () => {
    if (kind === 'freeze' && isQemu(pid)) process.kill(pid, 'SIGCONT');
  };
}

function isQemu(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('qemu');
  } catch {
    return false;
  }
}

async function strikeProcesses(cast: Cast, who: ProcessVictim, kind: ProcessFault): Promise<Relief | undefined> {
  const victims = processesOf(cast, who);
  if (victims.length === 0) return undefined;
  if (kind === 'freeze') {
    await Promise.all(victims.map((victim) => victim.kill('SIGSTOP')));
    return async () => {
      await Promise.all(victims.map((victim) => victim.kill('SIGCONT')));
    };
  }
  await Promise.all(victims.map((victim) => cast.keeper.kill(victim)));
  return async () => {
    await Promise.all(victims.map((victim) => cast.keeper.restart(victim)));
  };
}

function processesOf(cast: Cast, who: ProcessVictim): ManagedProcess[] {
  const { cluster } = cast;
  const node = cluster.nodes.get(nodeOf(cast, who) ?? '');
  const agents = () => [...cluster.nodes.values()].map(({ agent }) => agent);
  const found: Record<ProcessVictim, () => (ManagedProcess | undefined)[]> = {
    controller: () => [cluster.controller],
    sourceAgent: () => [node?.agent],
    targetAgent: () => [node?.agent],
    agentsAndController: () => [cluster.controller, ...agents()],
    sourceLocalnode: () => [node?.localnode],
    targetLocalnode: () => [node?.localnode],
    apiServer: () => [cluster.controlPlane.apiServer],
    etcd: () => [cluster.controlPlane.etcd],
    sourceQemu: () => [],
    targetQemu: () => [],
  };
  return found[who]().filter((process) => process !== undefined);
}
