/** Cuts of a cluster's cables. Whatever is dropped is dropped where it arrives, so that its sender learns nothing of it. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Cluster } from '../cluster/cluster.ts';
import type { Place } from '../cluster/network.ts';
import type { NetworkFault } from './scenario.ts';

/** A filter at the receiving end of a cable. */
interface Filter {
  readonly netns: string;
  readonly device: string;
  /** What is dropped, in nftables' words. ARP goes through: a neighbour that does not answer it would be reported to the sender. */
  readonly match: string;
}

interface Filters {
  /** What the victim does not receive, and what nobody receives of it. */
  readonly in: readonly Filter[];
  readonly out: readonly Filter[];
}

const run = promisify(execFile);
const table = 'vmferry-chaos';

/** @returns what joins it again. */
export async function cutNode(cluster: Cluster, node: string, kind: NetworkFault): Promise<() => Promise<void>> {
  const { port } = cabled(cluster, node);
  if (kind !== 'cut-both') return await drop(chosen(filtersOfNode(cluster, node), kind));
  const carrier = (state: 'down' | 'up') => inNamespace(port.netns, 'ip', 'link', 'set', port.device, state);
  await carrier('down');
  return () => carrier('up');
}

/** Between the API server and all nodes. What runs beside it, and the harness, reach it as before. */
export async function cutApiServer(cluster: Cluster, kind: NetworkFault): Promise<() => Promise<void>> {
  const address = new URL(cluster.server).hostname;
  const cables = [...cluster.nodes.keys()].map((node) => cabled(cluster, node));
  const filters: Filters = {
    in: cables.map(({ port }) => ({ ...port, match: `ip daddr ${address}` })),
    out: cables.map(({ netns }) => ({ netns, device: 'eth0', match: `ip saddr ${address}` })),
  };
  return await drop(chosen(filters, kind));
}

function filtersOfNode(cluster: Cluster, node: string): Filters {
  const { netns, port } = cabled(cluster, node);
  const match = 'meta protocol ip';
  return { in: [{ netns, device: 'eth0', match }], out: [{ ...port, match }] };
}

function chosen(filters: Filters, kind: NetworkFault): readonly Filter[] {
  if (kind === 'cut-in') return filters.in;
  if (kind === 'cut-out') return filters.out;
  return [...filters.in, ...filters.out];
}

async function drop(filters: readonly Filter[]): Promise<() => Promise<void>> {
  const namespaces = [...Map.groupBy(filters, ({ netns }) => netns)];
  const ruled = namespaces.map(([netns, own]) => {
    const chains = own.map(({ device, match }) => {
      const hook = `type filter hook ingress device "${device}" priority 0;`;
      return `chain ${device} { ${hook} ${match} drop; }\n`;
    });
    return inNamespace(netns, 'nft', `table netdev ${table} {\n${chains.join('')}}\n`);
  });
  await Promise.all(ruled);
  return async () => {
    await Promise.all(namespaces.map(([netns]) => inNamespace(netns, 'nft', `delete table netdev ${table}`)));
  };
}

function cabled({ nodes }: Cluster, name: string): Required<Pick<Place, 'netns' | 'port'>> {
  const { netns, port } = nodes.get(name) ?? {};
  if (netns === undefined || port === undefined) throw new Error(`${name} has no cable that could be cut`);
  return { netns, port };
}

async function inNamespace(netns: string, program: string, ...args: string[]): Promise<void> {
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
  await run('nsenter', [`--net=/run/netns/${netns}`, program, ...args], { env });
}
