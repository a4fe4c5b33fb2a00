/** The cables between a cluster's nodes, to be cut. What is dropped is dropped where it arrives, so that its sender learns nothing of it. */
import type { Place } from '../cluster/network.ts';
import { Dialogue } from './dialogue.ts';
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

type Mend = () => Promise<void>;

/** What has to be known of a cluster. */
interface Cabled {
  readonly directory: string;
  readonly server: string;
  readonly nodes: ReadonlyMap<string, Place>;
}

const table = 'chaos';
/** An empty table, so that there is one to be listed. */
const anchor = 'add table netdev anchor';
const anything = 'meta protocol ip';

export class Cables implements Disposable {
  readonly #cluster: Cabled;
  /** By network namespace. */
  readonly #filters = new Map<string, Dialogue>();
  /** By node. */
  readonly #carriers = new Map<string, Dialogue>();

  /** @throws when the nodes of this cluster have no namespaces of their own */
  constructor(cluster: Cabled) {
    this.#cluster = cluster;
    for (const node of cluster.nodes.keys()) {
      const { netns, port } = this.#cable(node);
      const ip = ['ip', '-n', port.netns, '-force', '-oneline', '-batch', '-'] as const;
      this.#carriers.set(node, new Dialogue(cluster.directory, ip, `link show ${port.device}`));
      for (const namespace of [netns, port.netns]) {
        if (this.#filters.has(namespace)) continue;
        const nft = ['nsenter', `--net=/run/netns/${namespace}`, 'nft', '--interactive'] as const;
        this.#filters.set(namespace, new Dialogue(cluster.directory, nft, 'list tables'));
      }
    }
  }

  /** Resolves when every filter can be set at once. */
  async ready(): Promise<void> {
    await Promise.all([...this.#filters.values()].map((filter) => filter.say(anchor)));
  }

  /** @returns what joins it again */
  async cutNode(node: string, kind: NetworkFault): Promise<Mend> {
    const { netns, port } = this.#cable(node);
    if (kind !== 'cut-both') {
      const filters = { in: [{ netns, device: 'eth0', match: anything }], out: [{ ...port, match: anything }] };
      return await this.#drop(chosen(filters, kind));
    }
    const carrier = this.#carriers.get(node);
    await carrier?.say(`link set ${port.device} down`);
    return async () => carrier?.say(`link set ${port.device} up`);
  }

  /** Between the API server and all nodes. What runs beside it, the controller too, and the harness reach it as before. */
  async cutApiServer(kind: NetworkFault): Promise<Mend> {
    const address = new URL(this.#cluster.server).hostname;
    const cables = [...this.#cluster.nodes.keys()].map((node) => this.#cable(node));
    const filters: Filters = {
      in: cables.map(({ port }) => ({ ...port, match: `ip daddr ${address}` })),
      out: cables.map(({ netns }) => ({ netns, device: 'eth0', match: `ip saddr ${address}` })),
    };
    return await this.#drop(chosen(filters, kind));
  }

  [Symbol.dispose](): void {
    for (const dialogue of [...this.#filters.values(), ...this.#carriers.values()]) dialogue[Symbol.dispose]();
  }

  async #drop(filters: readonly Filter[]): Promise<Mend> {
    const namespaces = [...Map.groupBy(filters, ({ netns }) => netns)];
    const tell = (netns: string, command: string) => this.#filters.get(netns)?.say(command);
    await Promise.all(
      namespaces.map(([netns, own]) => tell(netns, `add table netdev ${table}; ${own.map(rule).join(' ')}`)),
    );
    return async () => {
      await Promise.all(namespaces.map(([netns]) => tell(netns, `delete table netdev ${table}`)));
    };
  }

  #cable(node: string): Required<Pick<Place, 'netns' | 'port'>> {
    const { netns, port } = this.#cluster.nodes.get(node) ?? {};
    if (netns === undefined || port === undefined) throw new Error(`${node} has no cable that could be cut`);
    return { netns, port };
  }
}

function rule({ device, match }: Filter): string {
  const hook = `{ type filter hook ingress device "${device}" priority 0; }`;
  return `add chain netdev ${table} ${device} ${hook}; add rule netdev ${table} ${device} ${match} drop;`;
}

function chosen(filters: Filters, kind: NetworkFault): readonly Filter[] {
  if (kind === 'cut-in') return filters.in;
  if (kind === 'cut-out') return filters.out;
  return [...filters.in, ...filters.out];
}
