/** A cluster with VMs and migrations in the middle of their lives, and agents' tokens in the hands of whoever has them. */
import {
  type VirtualMachine,
  type VirtualMachineMigration,
  virtualMachineMigrations,
  virtualMachines,
} from '../../../src/api/objects.ts';
import { type JsonPatchOperation, KubeClient } from '../../../src/kube/client.ts';
import { type Lease, leases, type Node, nodes, type Pod, pods } from '../../../src/kube/core-resources.ts';
import { KubeTransport, loadKubeConfig } from '../../../src/kube/transport.ts';
import { type Cluster, startCluster } from '../../cluster/cluster.ts';
import { until } from '../../cluster/waiting.ts';
import { uniqueName } from '../pretend-node.ts';

export const systemNamespace = 'vmferry-system';
export const account = 'vmferry-agent';
const apiVersion = 'vmferry.io/v1alpha1';
const namespace = 'default';

/**
 * By what their tokens are bound to: `source` and `pod` (a pod's) to node-a, `target` to node-b, `bystander` to node-c. `renamed` is
 * bound to node-c as well, and another account with the agents' roles.
 */
export type Holder = 'source' | 'pod' | 'target' | 'bystander' | 'renamed' | 'unbound';

export interface Ground {
  readonly cluster: Cluster;
  readonly admin: KubeClient;
  readonly agents: Readonly<Record<Holder, KubeClient>>;
  /** Under way from node-a to node-b, unless told otherwise. */
  aMigration(status?: object): Promise<VirtualMachineMigration>;
  /** Placed on node-a. */
  aVirtualMachine(): Promise<VirtualMachine>;
  /** In the system's namespace. */
  aLease(name: string): Promise<Lease>;
}

/** Returns when the policies are in force; everything ends with `resources`. */
export async function prepareGround(resources: AsyncDisposableStack): Promise<Ground> {
  const cluster = resources.use(await startCluster({ network: 'loopback' }));
  const config = loadKubeConfig(cluster.adminKubeconfig);
  const admin = new KubeClient(resources.use(new KubeTransport(config)));

  /** With a new token of the account, which dies with what it is bound to. */
  async function holder(
    kind?: 'Node' | 'Pod',
    { name = '', uid = '' }: { name?: string; uid?: string } = {},
    of: { account: string; namespace: string } = { account, namespace: systemNamespace },
  ) {
    const binding = kind && [`--bound-object-kind=${kind}`, `--bound-object-name=${name}`, `--bound-object-uid=${uid}`];
    const command = ['create', 'token', of.account, `--namespace=${of.namespace}`, ...(binding ?? [])];
    const token = (await cluster.kubectl(...command)).trim();
    const { clientCertificate: _, clientKey: __, ...server } = config;
    const transport = new KubeTransport({ ...server, token: { data: Buffer.from(token) } });
    return new KubeClient(resources.use(transport));
  }

  const aNode = (name: string) => admin.create<Node>(nodes, { apiVersion: 'v1', kind: 'Node', metadata: { name } });

  /** Somebody has installed the agents under a name of their own. */
  async function renamedAccount() {
    const of = { account: 'node-helper', namespace: 'elsewhere' };
    const create = (...what: string[]) => cluster.kubectl('create', ...what);
    await create('namespace', of.namespace);
    await create('serviceaccount', of.account, `--namespace=${of.namespace}`);
    const subject = `--serviceaccount=${of.namespace}:${of.account}`;
    await create('clusterrolebinding', of.account, '--clusterrole=vmferry-agent', subject);
    await create('rolebinding', of.account, '--role=vmferry-agent', subject, `--namespace=${systemNamespace}`);
    return of;
  }

  /** As the kubelet makes a token for the DaemonSet's pod. */
  async function inPodOn(nodeName: string) {
    const spec = { serviceAccountName: account, nodeName, containers: [{ name: 'agent', image: 'agent' }] };
    const metadata = { namespace: systemNamespace, name: 'agent' };
    const pod = await admin.create<Pod>(pods, { apiVersion: 'v1', kind: 'Pod', metadata, spec });
    return holder('Pod', pod.metadata);
  }

  const [a, b, c] = await Promise.all([aNode('node-a'), aNode('node-b'), aNode('node-c')]);
  const [source, target, bystander, renamed, pod, unbound] = await Promise.all([
    holder('Node', a.metadata),
    holder('Node', b.metadata),
    holder('Node', c.metadata),
    renamedAccount().then((of) => holder('Node', c.metadata, of)),
    inPodOn('node-a'),
    holder(),
  ]);
  const ground: Ground = {
    cluster,
    admin,
    agents: { source, target, bystander, renamed, pod, unbound },
    async aMigration(status = {}) {
      const { metadata } = await admin.create<VirtualMachineMigration>(virtualMachineMigrations, {
        apiVersion,
        kind: 'VirtualMachineMigration',
        metadata: { namespace, name: uniqueName('move') },
        spec: { virtualMachineName: 'web' },
      });
      const underWay = {
        phase: 'Transferring',
        attempt: 1,
        sourceNode: 'node-a',
        targetNode: 'node-b',
        source: opened('pod-on-a'),
        target: opened('pod-on-b'),
        abort: { attempt: 1, reason: 'CancelRequested', message: 'Somebody wants it to stay.' },
      };
      const patch = { status: { ...underWay, ...status } };
      return await admin.mergePatch(virtualMachineMigrations, reference(metadata), patch, { subresource: 'status' });
    },
    async aVirtualMachine() {
      const { metadata } = await admin.create<VirtualMachine>(virtualMachines, {
        apiVersion,
        kind: 'VirtualMachine',
        metadata: { namespace, name: uniqueName('web') },
        spec: { memory: '64Mi', firmware: { bios: {} } },
      });
      const placement = { nodeName: 'node-a', podName: 'web-1', podUID: 'pod-on-a', generation: 1 };
      const patch = { status: { phase: 'Running', placement } };
      return await admin.mergePatch(virtualMachines, reference(metadata), patch, { subresource: 'status' });
    },
    aLease: (name) => createLease(admin, { namespace: systemNamespace, name }),
  };
  await untilEnforced(ground);
  return ground;
}

/** The API server takes note of new policies and roles within a second or two. */
async function untilEnforced({ agents: { unbound, renamed }, ...ground }: Ground): Promise<void> {
  const [migration, vm] = await Promise.all([ground.aMigration(), ground.aVirtualMachine()]);
  const policies = ['vmferry-agent-leases', 'vmferry-agent-migrations', 'vmferry-agent-virtualmachines'];
  const isHeld = async (agent: KubeClient) => {
    const refusals = await Promise.all(
      [
        createLease(agent, { namespace: systemNamespace, name: uniqueName('agent') }),
        agent.jsonPatch(virtualMachineMigrations, reference(migration.metadata), [add('message', 'x')], onStatus),
        agent.jsonPatch(virtualMachines, reference(vm.metadata), [add('message', 'x')], onStatus),
      ].map(refusal),
    );
    return policies.every((policy) => refusals.some((message) => message?.includes(policy)));
  };
  await until('the policies are in force', 20_000, async () =>
    (await isHeld(unbound)) && (await isHeld(renamed)) ? true : undefined,
  );
}

export const createLease = (client: KubeClient, metadata: object): Promise<Lease> =>
  client.create<Lease>(leases, { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata });

/** A side of a migration's status as the controller opens it. */
export const opened = (podUID: string) => ({ attempt: 1, podUID, sequence: 0 });

export const reference = ({ name, namespace }: { name: string; namespace: string }) => ({ name, namespace });

export const onStatus = { subresource: 'status' } as const;
export const add = (path: string, value: unknown): JsonPatchOperation => ({
  op: 'add',
  path: `/status/${path}`,
  value,
});
export const remove = (path: string): JsonPatchOperation => ({ op: 'remove', path: `/status/${path}` });

/** What the API server says to a request that it refuses; undefined when it does not. */
export async function refusal(request: Promise<unknown>): Promise<string | undefined> {
  return await request.then(
    () => undefined,
    (error: Error) => error.message,
  );
}
