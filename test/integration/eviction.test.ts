/** Evictions as the API server, the controller with the rights of its manifest, and the disruption controller decide them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { labels } from '../../src/api/labels.ts';
import {
  type VirtualMachine,
  type VirtualMachineMigration,
  virtualMachineMigrations,
  virtualMachines,
} from '../../src/api/objects.ts';
import { KubeClient } from '../../src/kube/client.ts';
import { type Pod, type PodDisruptionBudget, podDisruptionBudgets, pods } from '../../src/kube/core-resources.ts';
import { isNotFound } from '../../src/kube/errors.ts';
import { KubeTransport, loadKubeConfig } from '../../src/kube/transport.ts';
import { type Cluster, startCluster } from '../cluster/cluster.ts';
import { evict } from '../cluster/evict.ts';
import { until } from '../cluster/waiting.ts';
import { type PretendNode, pretendNode, uniqueName } from './pretend-node.ts';

const deadline = 30_000;
const namespace = 'default';
const resources = new AsyncDisposableStack();
let cluster: Cluster;
let client: KubeClient;

beforeAll(async () => {
  cluster = resources.use(await startCluster({ network: 'loopback', controller: true, webhook: true }));
  client = new KubeClient(resources.use(new KubeTransport(loadKubeConfig(cluster.adminKubeconfig))));
  // From then on it asks. What it needs no answer for it does not wait for.
  await until('the webhook is trusted', deadline, async () => {
    const bundle = ['-o', 'jsonpath={.webhooks[0].clientConfig.caBundle}'];
    return (await cluster.kubectl('get', 'validatingwebhookconfiguration', 'vmferry-eviction', ...bundle)) || undefined;
  });
});
afterAll(() => resources.disposeAsync());

type Spec = Partial<VirtualMachine['spec']>;

interface Running {
  name: string;
  podName: string;
  node: PretendNode;
}

/** A VM that runs on a node of its own, and may run on no other. */
async function aRunningVirtualMachine(spec: Spec = {}): Promise<Running> {
  const name = uniqueName('vm');
  const podName = `${name}-1`;
  const node = await pretendNode(client, `node-of-${name}`);
  await client.create<VirtualMachine>(virtualMachines, {
    apiVersion: 'vmferry.io/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { name, namespace },
    spec: { memory: '64Mi', firmware: { bios: {} }, nodeSelector: { pretend: node.name }, ...spec },
  });
  await node.runs(podName);
  await node.guestOf(name, { runState: 'running', running: true });
  await until(`${podName} is told that its guest runs`, deadline, async () => {
    const { status } = await client.get(pods, { namespace, name: podName });
    return status?.conditions?.some(({ type }) => type === 'vmferry.io/guest-running') || undefined;
  });
  await isReady(podName);
  return { name, podName, node };
}

/** As a kubelet does when every gate is open. */
async function isReady(podName: string): Promise<void> {
  const { status } = await client.get(pods, { namespace, name: podName });
  const others = (status?.conditions ?? []).filter(({ type }) => type !== 'Ready');
  const conditions = [...others, { type: 'Ready', status: 'True' }];
  await client.mergePatch<Pod>(
    pods,
    { namespace, name: podName },
    { status: { conditions } },
    { subresource: 'status' },
  );
}

async function aPod(name: string, metadata: object = {}): Promise<void> {
  const draft = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace, ...metadata },
    spec: { containers: [{ name: 'c', image: 'i' }] },
  };
  await client.create<Pod>(pods, draft);
  const status = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] };
  await client.mergePatch<Pod>(pods, { namespace, name }, { status }, { subresource: 'status' });
}

async function migrationsOf(vmName: string): Promise<VirtualMachineMigration[]> {
  const { items } = await client.list(virtualMachineMigrations, { namespace });
  return items.filter(({ spec }) => spec.virtualMachineName === vmName);
}

const orAbsent = (error: unknown) => {
  if (!isNotFound(error)) throw error;
  return undefined;
};

function budgetOf(vmName: string): Promise<PodDisruptionBudget | undefined> {
  return client.get(podDisruptionBudgets, { namespace, name: `vmferry-${vmName}` }).catch(orAbsent);
}

describe('what is no VM', () => {
  test.each([
    ['an ordinary pod', {}],
    ['a pod with the label of a VM that there is not', { labels: { [labels.virtualMachine]: 'nobody' } }],
  ])('%s is evicted as usual', async (_, metadata) => {
    const name = uniqueName('pod');
    await aPod(name, metadata);
    expect(await evict(client, name, { dryRun: true })).toEqual({ status: 201, message: '' });
    expect(await evict(client, name)).toEqual({ status: 201, message: '' });
    expect(await client.get(pods, { namespace, name }).catch(orAbsent)).toBeUndefined();
  });

  test('a pod with the label of a VM that does not own it is left to the budget', async () => {
    const { name } = await aRunningVirtualMachine();
    const stranger = uniqueName('stranger');
    await aPod(stranger, { labels: { [labels.virtualMachine]: name } });
    expect(await evict(client, stranger)).toMatchObject({ status: 429, message: expect.stringContaining('budget') });
    expect(await migrationsOf(name)).toEqual([]);
  });
});

describe('a VM that moves', () => {
  test('a dry run starts nothing, and many evictions at once make one migration', async () => {
    const { name, podName } = await aRunningVirtualMachine();
    const dry = await evict(client, podName, { dryRun: true });
    expect(dry).toEqual({ status: 429, message: expect.stringContaining('This is a dry run and starts nothing') });
    expect(await migrationsOf(name)).toEqual([]);

    const asked = performance.now();
    const answers = await Promise.all(Array.from({ length: 8 }, () => evict(client, podName)));
    console.info(`8 evictions were answered in ${Math.round(performance.now() - asked)} ms`);
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 8 }, () => 429));
    const [first, ...more] = await migrationsOf(name);
    expect(more).toEqual([]);
    if (first === undefined) throw new Error('no migration was made');
    const { metadata } = await client.get(pods, { namespace, name: podName });
    expect(first.metadata).toMatchObject({
      name: `${name}-evict-${metadata.uid?.slice(0, 8)}-1`,
      labels: { [labels.evictedPod]: metadata.uid },
      ownerReferences: [{ kind: 'VirtualMachine', name }],
    });
    for (const { message } of answers) expect(message).toContain(`vmm/${first.metadata.name}`);

    const told = '--field-selector=reason=EvictionRequested';
    await until('the VM tells of it', deadline, async () =>
      (await cluster.kubectl('get', 'events.events.k8s.io', told)).includes(`vm/${name}`) ? true : undefined,
    );
  });

  test('without the webhook its budget refuses, also for a pair of ready pods', async () => {
    const { name, podName } = await aRunningVirtualMachine();
    await cluster.controller?.kill('SIGSTOP');
    try {
      const asked = performance.now();
      expect(await evict(client, podName)).toMatchObject({ status: 429, message: expect.stringContaining('budget') });
      expect(performance.now() - asked).toBeLessThan(5_000);
      const other = uniqueName('target');
      await aPod(other, { labels: { [labels.virtualMachine]: name } });
      await until('both count as healthy', deadline, async () => {
        const budget = await budgetOf(name);
        return (budget as { status?: { currentHealthy?: number } })?.status?.currentHealthy === 2 || undefined;
      });
      for (const pod of [podName, other])
        expect(await evict(client, pod)).toMatchObject({ status: 429, message: expect.stringContaining('budget') });
    } finally {
      await cluster.controller?.kill('SIGCONT');
    }
    expect(await migrationsOf(name)).toEqual([]);
  });

  test('its budget goes when it is to be stopped, comes back, is repaired, and goes with it', async () => {
    const { name, podName, node } = await aRunningVirtualMachine();
    const change = (spec: Spec) => client.mergePatch(virtualMachines, { namespace, name }, { spec });
    const is = (what: string, minAvailable: number | undefined) =>
      until(what, deadline, async () =>
        (await budgetOf(name))?.spec.minAvailable === minAvailable ? true : undefined,
      );
    await is('it has one', 2);
    await change({ evictionPolicy: 'Stop' });
    await is('it has none', undefined);
    await change({ evictionPolicy: 'LiveMigrate' });
    await is('it has one again', 2);
    const weaker = { spec: { minAvailable: 1 } };
    await client.mergePatch(podDisruptionBudgets, { namespace, name: `vmferry-${name}` }, weaker);
    await is('it is as it was', 2);
    await client.delete(virtualMachines, { namespace, name });
    await node.ended(podName, 0);
    await is('it has none any more', undefined);
  });
});

test('a VM that is to be stopped: its pod is deleted, which powers its guest down', async () => {
  const { name, podName } = await aRunningVirtualMachine({ evictionPolicy: 'Stop' });
  await until('it has no budget', deadline, async () => ((await budgetOf(name)) === undefined ? true : undefined));
  expect(await evict(client, podName)).toEqual({ status: 201, message: '' });
  expect((await client.get(pods, { namespace, name: podName })).metadata.deletionTimestamp).toBeDefined();
  expect(await migrationsOf(name)).toEqual([]);
});
