/** The VM reconciler against a real API server, scheduler and garbage collector; the test is the node and its agent. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { annotations, finalizers, guestRunningCondition } from '../../src/api/labels.ts';
import { type VirtualMachine, virtualMachines } from '../../src/api/objects.ts';
import { type ControllerContext, createContext, informersOf } from '../../src/controller/context.ts';
import { createVirtualMachineController } from '../../src/controller/virtual-machine/reconciler.ts';
import { KubeClient } from '../../src/kube/client.ts';
import { type Pod, pods } from '../../src/kube/core-resources.ts';
import { isNotFound } from '../../src/kube/errors.ts';
import { KubeTransport, loadKubeConfig } from '../../src/kube/transport.ts';
import { defaultMigrationLimits } from '../../src/migration/capacity.ts';
import { createLogger } from '../../src/observability/logger.ts';
import { createRegistry } from '../../src/observability/metrics.ts';
import { type Cluster, startCluster } from '../cluster/cluster.ts';
import { until } from '../cluster/waiting.ts';
import { type PretendNode, pretendNode, uniqueName } from './pretend-node.ts';

const deadline = 20_000;
const namespace = 'default';

let cluster: Cluster;
let client: KubeClient;
const resources = new AsyncDisposableStack();
/** Of the controller alone, since the last reset: "PATCH pods", in order. */
let writes: string[] = [];

beforeAll(async () => {
  cluster = resources.use(await startCluster({ network: 'loopback' }));
  const config = loadKubeConfig(cluster.adminKubeconfig);
  client = new KubeClient(resources.use(new KubeTransport(config)));
  await startController();
});

afterAll(() => resources.disposeAsync());

async function startController(): Promise<ControllerContext> {
  const onRequest = (method: string, plural: string) => {
    if (method !== 'GET') writes.push(`${method} ${plural}`);
  };
  const transport = resources.use(new KubeTransport(loadKubeConfig(cluster.adminKubeconfig), { onRequest }));
  const options = {
    accelerator: 'tcg',
    qemuImage: 'qemu:test',
    namespace: 'vmferry-system',
    migrationLimits: defaultMigrationLimits,
  } as const;
  const context = createContext(
    new KubeClient(transport),
    options,
    createLogger({ name: 'test' }),
    resources,
    createRegistry(),
  );
  const controller = resources.use(createVirtualMachineController(context));
  for (const informer of informersOf(context)) {
    informer.start();
    await informer.synced();
  }
  controller.start();
  return context;
}

type Spec = Partial<VirtualMachine['spec']>;

async function aVirtualMachine(name: string, spec: Spec = {}): Promise<VirtualMachine> {
  return client.create<VirtualMachine>(virtualMachines, {
    apiVersion: 'vmferry.io/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { name, namespace },
    spec: { memory: '64Mi', firmware: { bios: {} }, ...spec },
  });
}

const read = (name: string) => client.get<VirtualMachine>(virtualMachines, { namespace, name });
const change = (name: string, spec: Spec) => client.mergePatch(virtualMachines, { namespace, name }, { spec });
const podNamed = (name: string) => client.get(pods, { namespace, name });

const orAbsent = (error: unknown) => {
  if (!isNotFound(error)) throw error;
  return undefined;
};

async function podsOf(name: string): Promise<Pod[]> {
  return (await client.list(pods, { namespace, labelSelector: `vmferry.io/virtual-machine=${name}` })).items;
}

function untilVm(
  name: string,
  what: string,
  fits: (vm: VirtualMachine) => boolean | undefined,
): Promise<VirtualMachine> {
  return until(`vm/${name} ${what}`, deadline, async () => {
    const vm = await read(name);
    return fits(vm) ? vm : undefined;
  });
}

const inPhase = (name: string, phase: string) => untilVm(name, `is ${phase}`, ({ status }) => status?.phase === phase);

/** A VM that runs in its first pod on a node of its own. */
async function aRunningVirtualMachine(spec: Spec = {}): Promise<{ name: string; node: PretendNode; podName: string }> {
  const name = uniqueName('vm');
  const node = await pretendNode(client, `node-of-${name}`);
  await aVirtualMachine(name, { ...spec, nodeSelector: { pretend: node.name } });
  await comesToRun(name, node, 1);
  return { name, node, podName: `${name}-1` };
}

async function comesToRun(name: string, node: PretendNode, generation: number): Promise<void> {
  await node.runs(`${name}-${generation}`);
  await node.guestOf(name, { runState: 'running', running: true });
  await inPhase(name, 'Running');
}

/** Reasons of the events about a VM. */
async function eventsOf(name: string): Promise<string[]> {
  const selector = `--field-selector=regarding.name=${name}`;
  const reasons = ['-o', 'jsonpath={.items[*].reason}'];
  return (await cluster.kubectl('get', 'events.events.k8s.io', selector, ...reasons)).split(' ');
}

function condition(vm: VirtualMachine, type: string) {
  return vm.status?.conditions?.find((candidate) => candidate.type === type);
}

describe('start', () => {
  test('a VM comes to run in a pod that its placement names, in a handful of writes', async () => {
    writes = [];
    const { name, node, podName } = await aRunningVirtualMachine();
    const vm = await read(name);
    const pod = await until(`${podName} is told that its guest runs`, deadline, async () => {
      const candidate = await podNamed(podName);
      const gate = candidate.status?.conditions?.find(({ type }) => type === guestRunningCondition);
      return gate?.status === 'True' ? candidate : undefined;
    });
    expect(vm.status?.placement).toEqual({ generation: 1, podName, podUID: pod.metadata.uid, nodeName: node.name });
    expect(vm.status?.hardware).toMatchObject({ machineType: 'pc-q35-7.2', accelerator: 'tcg' });
    expect(vm.metadata.finalizers).toEqual([finalizers.virtualMachine]);
    expect(condition(vm, 'Ready')).toMatchObject({ status: 'True' });
    expect(condition(vm, 'LiveMigratable')).toMatchObject({ status: 'True' });
    expect(pod.metadata.finalizers).toEqual([finalizers.guest]);
    expect(writes.toSorted()).toEqual([
      'PATCH pods',
      'PATCH pods',
      'PATCH virtualmachines',
      'POST events',
      'POST pods',
      'PUT virtualmachines',
      'PUT virtualmachines',
      'PUT virtualmachines',
      'PUT virtualmachines',
    ]);
  });

  test("somebody else's pod of the name is left alone", async () => {
    const name = uniqueName('vm');
    const foreign = `${name}-1`;
    const container = { name: 'c', image: 'i' };
    await client.create<Pod>(pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: foreign, namespace },
      spec: { containers: [container], nodeSelector: { pretend: 'nowhere' } },
    });
    await aVirtualMachine(name, { nodeSelector: { pretend: 'nowhere' } });
    const vm = await untilVm(name, 'has a pod', ({ status }) => status?.placement?.podUID !== undefined);
    expect(vm.status?.placement).toMatchObject({ generation: 2, podName: `${name}-2` });
    expect((await podNamed(foreign)).metadata.deletionTimestamp).toBeUndefined();
  });

  test('a VM that no node takes says so in the words of the scheduler, and stops at once', async () => {
    const name = uniqueName('vm');
    await aVirtualMachine(name, { nodeSelector: { pretend: 'nowhere' } });
    await untilVm(name, 'is unschedulable', (vm) => condition(vm, 'Ready')?.reason === 'Unschedulable');
    expect((await read(name)).status).toMatchObject({
      phase: 'Pending',
      message: expect.stringMatching(/No node takes/),
    });
    await change(name, { powerState: 'Stopped' });
    await inPhase(name, 'Stopped');
    await until('its pod is gone', deadline, async () => (await podsOf(name)).length === 0 || undefined);
  });

  test('a pod that a slept leader creates for a start long past never gets a node', async () => {
    const { name, node, podName } = await aRunningVirtualMachine();
    const first = await podNamed(podName);
    await node.ended(podName, 1);
    await comesToRun(name, node, 2);
    const { namespace: _, uid, resourceVersion, creationTimestamp, ...metadata } = first.metadata;
    const { nodeName, ...spec } = first.spec;
    const late = { ...spec, schedulingGates: [{ name: 'vmferry.io/placement' }] };
    const created = await client.create<Pod>(pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...metadata, namespace },
      spec: late,
    });
    await until('it is gone', deadline, async () => {
      const pod = await podNamed(podName).catch(orAbsent);
      expect(pod?.spec.nodeName).toBeUndefined();
      return pod?.metadata.uid !== created.metadata.uid || undefined;
    });
    expect((await read(name)).status).toMatchObject({ phase: 'Running', placement: { podName: `${name}-2` } });
  });
});

describe('an end that nobody asked for', () => {
  test('a QEMU that fails is started again in another pod, with its message told', async () => {
    const { name, node, podName } = await aRunningVirtualMachine();
    await node.ended(podName, 1, 'qemu-system-x86_64: cannot set up guest memory');
    await comesToRun(name, node, 2);
    const { status } = await read(name);
    expect(status).toMatchObject({
      restarts: 1,
      lastEnd: { podName, reason: 'QemuFailed', exitCode: 1, message: expect.stringContaining('guest memory') },
    });
    expect((await podsOf(name)).map(({ metadata }) => metadata.name)).toEqual([`${name}-2`]);
    const events = await until('the end and the restart are told', deadline, async () => {
      const told = await eventsOf(name);
      return told.includes('Restarting') ? told : undefined;
    });
    expect(events.toSorted()).toEqual(['QemuFailed', 'Restarting', 'Starting']);
  });

  test('a guest that powers itself off stays down under OnFailure, until its owner says otherwise', async () => {
    const { name, node, podName } = await aRunningVirtualMachine({ restartPolicy: 'OnFailure' });
    await node.ended(podName, 0);
    const vm = await inPhase(name, 'Stopped');
    expect(vm.status).toMatchObject({
      lastEnd: { reason: 'GuestPoweredOff' },
      message: expect.stringContaining('OnFailure'),
    });
    await until('its pod is gone', deadline, async () => (await podsOf(name)).length === 0 || undefined);
    await change(name, { powerState: 'Stopped' });
    await untilVm(name, 'has been told', ({ status, metadata }) => status?.observedGeneration === metadata.generation);
    await change(name, { powerState: 'Running' });
    await comesToRun(name, node, 2);
  });

  test('a pod deleted from outside is held until its QEMU has ended, then the VM starts elsewhere', async () => {
    const { name, node, podName } = await aRunningVirtualMachine({ restartPolicy: 'OnFailure' });
    await client.delete(pods, { namespace, name: podName });
    await inPhase(name, 'Stopping');
    expect((await podNamed(podName)).metadata.finalizers).toEqual([finalizers.guest]);
    await node.ended(podName, 0);
    await comesToRun(name, node, 2);
    expect((await read(name)).status?.lastEnd?.reason).toBe('PodDeleted');
  });

  test('nothing is started while the end of the last QEMU is unknown', async () => {
    const { name, podName } = await aRunningVirtualMachine();
    const lost = { exitCode: 137, reason: 'ContainerStatusUnknown', startedAt: null, finishedAt: null };
    const containerStatuses = [
      { name: 'qemu', image: 'i', imageID: '', ready: false, restartCount: 0, state: { terminated: lost } },
    ];
    await client.mergePatch(
      pods,
      { namespace, name: podName },
      { status: { phase: 'Failed', containerStatuses } },
      { subresource: 'status' },
    );
    const vm = await inPhase(name, 'Failed');
    expect(condition(vm, 'Ready')).toMatchObject({ status: 'Unknown', reason: 'ContainerLost' });
    expect(vm.status?.placement?.podName).toBe(podName);
  });
});

describe('an end that only an operator can prove', () => {
  const onlyPodIs = (name: string, ...names: string[]) =>
    until(`the pods of ${name} are ${names}`, deadline, async () =>
      (await podsOf(name)).map(({ metadata }) => metadata.name).join() === names.join() ? true : undefined,
    );

  test('the annotation counts once the node is not ready, and takes the pod away without it', async () => {
    const { name, node, podName } = await aRunningVirtualMachine();
    const uid = (await podNamed(podName)).metadata.uid ?? '';
    const fence = { metadata: { annotations: { [annotations.fenced]: uid } } };
    await client.mergePatch(virtualMachines, { namespace, name }, fence);
    const refused = await untilVm(name, 'has an answer', (vm) => condition(vm, 'FenceAccepted') !== undefined);
    expect(condition(refused, 'FenceAccepted')).toMatchObject({ status: 'False', reason: 'FenceRefused' });
    expect(refused.status?.placement?.podUID).toBe(uid);
    await node.fallsSilent();
    await onlyPodIs(name, `${name}-2`);
    const { status } = await read(name);
    expect(status).toMatchObject({ restarts: 1, lastEnd: { podName, reason: 'NodeFenced' } });
    expect(status?.lastEnd?.message).toContain(uid);
    const told = await until('it is told', deadline, async () => {
      const events = await eventsOf(name);
      return events.includes('Restarting') ? events : undefined;
    });
    expect(told.toSorted()).toEqual(['FenceRefused', 'NodeFenced', 'Restarting', 'Starting']);
  });

  test('the taint takes away a pod whose deletion its node will never finish', async () => {
    const { name, node, podName } = await aRunningVirtualMachine();
    await client.delete(pods, { namespace, name: podName });
    await node.fallsSilent();
    const vm = await untilVm(name, 'says what would settle it', ({ status }) => status?.message?.includes('kubectl'));
    expect(vm.status?.placement?.podName).toBe(podName);
    await node.isTainted();
    await onlyPodIs(name, `${name}-2`);
    expect((await read(name)).status?.lastEnd?.reason).toBe('NodeFenced');
  });

  test('the taint lets go of the pod of a VM that was removed by force', async () => {
    const { name, node, podName } = await aRunningVirtualMachine();
    await client.mergePatch(virtualMachines, { namespace, name }, { metadata: { finalizers: [] } });
    await client.delete(virtualMachines, { namespace, name });
    await client.delete(pods, { namespace, name: podName });
    await node.fallsSilent();
    await node.isTainted();
    await onlyPodIs(name);
  });
});

describe('stop and delete', () => {
  test('a stopped VM has no pod, and starts again in the next', async () => {
    const { name, node, podName } = await aRunningVirtualMachine();
    await change(name, { powerState: 'Stopped' });
    await inPhase(name, 'Stopping');
    expect((await podNamed(podName)).metadata.deletionTimestamp).toBeUndefined();
    await node.ended(podName, 0);
    await inPhase(name, 'Stopped');
    await until('its pod is gone', deadline, async () => (await podsOf(name)).length === 0 || undefined);
    await change(name, { powerState: 'Running' });
    await comesToRun(name, node, 2);
    expect((await read(name)).status?.restarts).toBeUndefined();
  });

  test('a deleted VM goes after its guest, and leaves no pod', async () => {
    const { name, node, podName } = await aRunningVirtualMachine();
    await client.delete(virtualMachines, { namespace, name });
    await inPhase(name, 'Stopping');
    await node.ended(podName, 0);
    await until('the VM is gone', deadline, async () => (await read(name).catch(orAbsent)) === undefined || undefined);
    expect(await podsOf(name)).toEqual([]);
  });

  test('pods of a VM that was removed by force are let go when their QEMU has ended', async () => {
    const { name, node, podName } = await aRunningVirtualMachine();
    await client.mergePatch(virtualMachines, { namespace, name }, { metadata: { finalizers: [] } });
    await client.delete(virtualMachines, { namespace, name });
    // As the garbage collector does, when it comes to it.
    await client.delete(pods, { namespace, name: podName });
    expect((await podNamed(podName)).metadata.finalizers).toEqual([finalizers.guest]);
    await node.ended(podName, 0);
    await until('the pod is gone', deadline, async () => (await podsOf(name)).length === 0 || undefined);
  });
});

describe('while a migration holds the lock', () => {
  test('the VM is neither stopped nor restarted, and an orphaned lock is released', async () => {
    const { name, node, podName } = await aRunningVirtualMachine();
    const uid = '00000000-0000-4000-8000-000000000000';
    const labels = { 'vmferry.io/virtual-machine': name, 'vmferry.io/migration': uid, 'vmferry.io/role': 'target' };
    const target = { name: uniqueName('target'), namespace };
    const spec = { containers: [{ name: 'c', image: 'i' }], nodeSelector: { pretend: 'nowhere' } };
    await client.create<Pod>(pods, { apiVersion: 'v1', kind: 'Pod', metadata: { ...target, labels }, spec });
    const lock = { migration: { name: 'gone', uid } };
    await client.mergePatch(virtualMachines, { namespace, name }, { status: lock }, { subresource: 'status' });
    await inPhase(name, 'Migrating');
    await change(name, { powerState: 'Stopped' });
    await node.ended(podName, 1);
    // Had the controller acted on any of this, it would have done so before it sees a later change of another VM.
    await aRunningVirtualMachine();
    const { status } = await read(name);
    expect(status).toMatchObject({ phase: 'Migrating', placement: { podName }, ...lock });
    expect((await podNamed(podName)).metadata.finalizers).toEqual([finalizers.guest]);
    await client.delete(pods, target);
    const vm = await inPhase(name, 'Stopped');
    expect(vm.status?.migration).toBeUndefined();
  });
});
