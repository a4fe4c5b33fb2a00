/** Cuts ways of the network between two nodes that are network namespaces of this machine. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { System } from './system.ts';

/** Where agents listen for each other unless they are told otherwise. */
const handoverPort = 9443;
/** Debian's users other than root lack the sbin folders on their PATH. */
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };

/** Why nothing can be cut here, in one line; undefined where it can: that needs network namespaces and nftables. */
export async function whyNothingCanBeCut({ cluster }: System): Promise<string | undefined> {
  for (const { name, netns } of cluster.nodes.values()) {
    if (netns === undefined) return `NOT TESTED: ${name} has no network of its own that could be cut`;
    const failure = await nft(netns, 'list tables').catch(String);
    if (failure !== undefined) return `NOT TESTED: the network of ${name} cannot be cut: ${failure}`;
  }
  return undefined;
}

/**
 * Drops what arrives at the agent of this node from other agents, also on connections that are open. Ends with its disposal, or with the
 * cluster.
 */
export async function cutOffFromAgents(system: System, nodeName: string | undefined): Promise<AsyncDisposable> {
  const { netns } = system.node(nodeName);
  await nft(netns, 'add table inet cut');
  await nft(netns, 'add chain inet cut arriving { type filter hook input priority 0; }');
  await nft(netns, `add rule inet cut arriving tcp dport ${handoverPort} drop`);
  return { [Symbol.asyncDispose]: () => nft(netns, 'delete table inet cut') };
}

async function nft(netns: string | undefined, command: string): Promise<void> {
  await promisify(execFile)('nsenter', [`--net=/run/netns/${netns}`, 'nft', command], { env });
}
