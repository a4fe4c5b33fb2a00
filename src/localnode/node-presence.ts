/** Registers a Node and shows that it lives, as a kubelet does. */
import { arch, release, totalmem } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { KubeClient } from '../kube/client.ts';
import { type Lease, leases, microTime, type Node, nodes } from '../kube/core-resources.ts';
import { isNotFound } from '../kube/errors.ts';
import type { Logger } from '../observability/logger.ts';
import { wholeSeconds } from './pod-status.ts';

/** The kubelet's: a lease is renewed every quarter of its duration. */
const leaseSeconds = 40;
const renewMilliseconds = (leaseSeconds / 4) * 1000;
const retryMilliseconds = 500;

export interface NodePresenceOptions {
  readonly client: KubeClient;
  readonly nodeName: string;
  readonly address: string;
  readonly logger: Logger;
}

/** Registers the node and renews its lease until the signal aborts. Failures are logged and tried again. */
export async function keepNode(options: NodePresenceOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    let wait = renewMilliseconds;
    try {
      const node = await ensureNode(options, signal);
      await renewLease(options, node, signal);
    } catch (error) {
      if (signal.aborted) return;
      options.logger.warn({ err: error }, 'The node could not be kept alive');
      wait = retryMilliseconds;
    }
    await delay(wait, undefined, { signal }).catch(() => undefined);
  }
}

async function ensureNode(options: NodePresenceOptions, signal: AbortSignal): Promise<Node> {
  const { client, nodeName: name, logger } = options;
  const node = await client.get(nodes, { name }, { signal }).catch(absent);
  if (node === undefined) {
    const created = await client.create(nodes, newNode(options), { signal });
    logger.info('Registered');
    return created;
  }
  if (isReported(node, options.address)) return node;
  logger.info('Reported ready');
  return client.transport.request<Node>({
    method: 'PATCH',
    path: `/api/v1/nodes/${name}/status`,
    body: { status: nodeStatus(options) },
    contentType: 'application/strategic-merge-patch+json',
    resourcePlural: 'nodes',
    signal,
  });
}

/** After its lease ran out once, a node is not ready until it says so itself. */
function isReported({ status }: Node, address: string): boolean {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  return ready?.status === 'True' && (status?.addresses ?? []).some((known) => known.address === address);
}

function newNode(options: NodePresenceOptions) {
  const labels = {
    'kubernetes.io/hostname': options.nodeName,
    'kubernetes.io/arch': kubernetesArch(),
    'kubernetes.io/os': 'linux',
  };
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: options.nodeName, labels },
    status: nodeStatus(options),
  } satisfies Node;
}

function nodeStatus({ nodeName, address }: NodePresenceOptions): NonNullable<Node['status']> {
  const now = wholeSeconds(new Date());
  // Plain processes share the machine without limits: what is tried on it need not fit by the numbers, but memory that is
  // promised twice ends guests.
  const capacity = { cpu: '64', memory: `${Math.floor(totalmem() / 1024)}Ki`, pods: '250' };
  return {
    addresses: [
      { type: 'InternalIP', address },
      { type: 'Hostname', address: nodeName },
    ],
    capacity,
    allocatable: capacity,
    conditions: [
      {
        type: 'Ready',
        status: 'True',
        reason: 'LocalnodeReady',
        message: 'localnode runs VM pods as plain processes',
        lastHeartbeatTime: now,
        lastTransitionTime: now,
      },
    ],
    nodeInfo: {
      architecture: kubernetesArch(),
      operatingSystem: 'linux',
      osImage: 'the host',
      kernelVersion: release(),
      kubeletVersion: 'localnode',
      containerRuntimeVersion: 'localnode://1',
    },
  };
}

function kubernetesArch(): string {
  return arch() === 'x64' ? 'amd64' : arch();
}

async function renewLease({ client, nodeName }: NodePresenceOptions, node: Node, signal: AbortSignal): Promise<void> {
  const ref = { namespace: 'kube-node-lease', name: nodeName };
  const spec = {
    holderIdentity: nodeName,
    leaseDurationSeconds: leaseSeconds,
    renewTime: microTime(new Date()),
  };
  const lease = await client.get(leases, ref, { signal }).catch(absent);
  if (lease !== undefined) {
    await client.replace<Lease>(leases, { ...lease, spec: { ...lease.spec, ...spec } }, { signal });
    return;
  }
  // Goes with the node.
  const owner = { apiVersion: 'v1', kind: 'Node', name: nodeName, uid: node.metadata.uid ?? '' };
  const metadata = { ...ref, ownerReferences: [owner] };
  await client.create(leases, { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec }, { signal });
}

function absent(error: unknown): undefined {
  if (!isNotFound(error)) throw error;
}
