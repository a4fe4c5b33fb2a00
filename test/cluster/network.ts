import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { networkInterfaces } from 'node:os';
import { promisify } from 'node:util';
import { type Run, saveRun } from './run-registry.ts';

/** Where a process runs and under which address the others reach it. */
export interface Place {
  address: string;
  /** Name of its network namespace; without one it runs in the harness's. */
  netns?: string;
  /** The other end of the cable of a node that has a namespace: a port of the bridge, in the control plane's namespace. */
  port?: { netns: string; device: string };
}

export interface ClusterNetwork {
  /** The control plane's place. */
  readonly control: Place;
  /** A place for one more node. */
  addNode(name: string): Promise<Place>;
}

export type NetworkKind = 'namespaces' | 'loopback';

/**
 * Makes the network of a cluster. Without a wish it is `namespaces` where that works (it needs root), else `loopback`.
 * With a wish that cannot be fulfilled it throws.
 */
export async function createNetwork(
  record: Run,
  wish: NetworkKind | undefined,
  log: (line: string) => void,
): Promise<ClusterNetwork> {
  if (wish === 'loopback') return loopback();
  if (wish === undefined && process.getuid?.() !== 0) return loopback();
  try {
    return await namespaces(record);
  } catch (error) {
    if (wish) throw error;
    log(`no network namespaces here, everything runs on loopback addresses: ${String(error)}`);
    return loopback();
  }
}

/** Every node has an address of its own in 127.0.0.0/8, which Linux serves as a whole. */
function loopback(): ClusterNetwork {
  const third = randomInt(1, 255);
  let nodes = 0;
  return {
    control: { address: '127.0.0.1' },
    async addNode() {
      nodes += 1;
      return { address: `127.77.${third}.${nodes}` };
    },
  };
}

/**
 * One namespace holds a bridge and the control plane, one more each node, joined by a veth pair to the bridge. The
 * bridge is not in the root namespace because there Docker's and the firewall's rules would drop what crosses it.
 * The harness reaches all of them through a veth pair that it has to the bridge.
 */
async function namespaces(record: Run): Promise<ClusterNetwork> {
  const prefix = freePrefix();
  const control: Place = { address: `${prefix}.1`, netns: `vmferry-${record.id}` };
  const netns = await addNamespace(record, `vmferry-${record.id}`);
  const hostLink = `vmferry${record.id}`;
  await ip(`link add ${hostLink} mtu 1500 type veth peer name host netns ${netns}`);
  await Promise.all([
    ipBatch(netns, [
      'link set lo up',
      'link add br0 mtu 1500 type bridge',
      `address add ${control.address}/24 dev br0`,
      'link set br0 up',
      'link set host master br0 up',
    ]),
    ip(`address add ${prefix}.254/24 dev ${hostLink}`).then(() => ip(`link set ${hostLink} up`)),
  ]);
  let nodes = 0;
  return {
    control,
    async addNode(name) {
      nodes += 1;
      const [port, address] = [`node${nodes}`, `${prefix}.${nodes + 1}`];
      const nodeNetns = await addNamespace(record, `${netns}-${name}`);
      await ip(`link add ${port} netns ${netns} mtu 1500 type veth peer name eth0 netns ${nodeNetns}`);
      await Promise.all([
        ip(`-n ${netns} link set ${port} master br0 up`),
        ipBatch(nodeNetns, ['link set lo up', 'link set eth0 mtu 1500 up', `address add ${address}/24 dev eth0`]),
      ]);
      return { address, netns: nodeNetns, port: { netns, device: port } };
    },
  };
}

async function addNamespace(record: Run, name: string): Promise<string> {
  record.namespaces.push(name);
  saveRun(record);
  await ip(`netns add ${name}`);
  return name;
}

/** The first three numbers of a 10.x.y.0/24 that no interface of this machine has an address in. */
function freePrefix(): string {
  const taken = Object.values(networkInterfaces())
    .flat()
    .map((address) => address?.address.split('.').slice(0, 2).join('.'));
  for (;;) {
    const prefix = `10.${randomInt(64, 250)}`;
    if (!taken.includes(prefix)) return `${prefix}.${randomInt(1, 255)}`;
  }
}

/** Without root's PATH the sbin folders are missing from it, where Debian has `ip`. */
const withSbin = { env: { PATH: `${process.env.PATH}:/usr/sbin:/sbin` } };
const run = promisify(execFile);

async function ip(args: string): Promise<void> {
  await run('ip', args.split(' '), withSbin);
}

/** Many commands in one process, all inside the namespace. */
async function ipBatch(netns: string, commands: string[]): Promise<void> {
  const running = run('ip', ['-n', netns, '-batch', '-'], withSbin);
  running.child.stdin?.end(`${commands.join('\n')}\n`);
  await running;
}
