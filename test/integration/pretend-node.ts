/** A node without a runtime: the scheduler binds pods to it, and the test says what became of their containers. */
import { randomUUID } from 'node:crypto';
import { outOfServiceTaint } from '../../src/api/labels.ts';
import type { VirtualMachine } from '../../src/api/objects.ts';
import { virtualMachines } from '../../src/api/objects.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { type ContainerStatus, type Node, nodes, type Pod, pods } from '../../src/kube/core-resources.ts';
import { until } from '../cluster/waiting.ts';

const deadline = 20_000;

export interface PretendNode {
  readonly name: string;
  /** Waits until the pod is bound here, and reports its container as running. */
  runs(podName: string): Promise<Pod>;
  /** Reports the container as ended by itself. */
  ended(podName: string, exitCode: number, message?: string): Promise<void>;
  /** As the agent of this node: what its QEMU says. */
  guestOf(vmName: string, guest: { runState: string; running: boolean; blockers?: string[] }): Promise<void>;
  /** Is not ready any more, as Kubernetes sees a node that it hears nothing of. */
  fallsSilent(): Promise<void>;
  /** An operator says that it is off. */
  isTainted(): Promise<void>;
}

/** @param label every node has it; a VM that selects it is scheduled only here */
export async function pretendNode(client: KubeClient, name: string): Promise<PretendNode> {
  await client.create<Node>(nodes, { apiVersion: 'v1', kind: 'Node', metadata: { name, labels: { pretend: name } } });
  const resources = { cpu: '16', memory: '64Gi', pods: '100' };
  const now = new Date().toISOString();
  const ready = { type: 'Ready', status: 'True', reason: 'Pretends', lastHeartbeatTime: now, lastTransitionTime: now };
  const say = (status: object) => client.mergePatch(nodes, { name }, { status }, { subresource: 'status' });
  await say({ capacity: resources, allocatable: resources, conditions: [ready] });
  // Every node is born with the taint not-ready; what makes it ready is not this test's matter.
  await client.mergePatch(nodes, { name }, { spec: { taints: null } });

  const report = (podName: string, phase: string, state: ContainerStatus['state']) => {
    const containerStatuses = [
      { name: 'qemu', image: 'i', imageID: 'i', ready: phase === 'Running', restartCount: 0, state },
    ];
    const reference = { namespace: 'default', name: podName };
    return client.mergePatch(pods, reference, { status: { phase, containerStatuses } }, { subresource: 'status' });
  };
  const startedAt = new Date().toISOString();
  let sequence = 0;
  return {
    name,
    async runs(podName) {
      await until(`pod ${podName} is bound to ${name}`, deadline, async () => {
        const { items } = await client.list(pods, { namespace: 'default', fieldSelector: `spec.nodeName=${name}` });
        return items.find(({ metadata }) => metadata.name === podName);
      });
      return report(podName, 'Running', { running: { startedAt } });
    },
    async ended(podName, exitCode, message = '') {
      const finishedAt = new Date().toISOString();
      const terminated = { exitCode, message, reason: exitCode === 0 ? 'Completed' : 'Error', startedAt, finishedAt };
      const pod = await report(podName, exitCode === 0 ? 'Succeeded' : 'Failed', { terminated });
      // The node has the last word on a deletion that came while the container still ran.
      if (pod.metadata.deletionTimestamp === undefined) return;
      await client.delete(pods, { namespace: 'default', name: podName }, { gracePeriodSeconds: 0 });
    },
    async fallsSilent() {
      await say({ conditions: [{ ...ready, status: 'Unknown', reason: 'NodeStatusUnknown' }] });
    },
    async isTainted() {
      const taint = { key: outOfServiceTaint, value: 'nodeshutdown', effect: 'NoExecute' };
      await client.mergePatch(nodes, { name }, { spec: { taints: [taint] } });
    },
    async guestOf(vmName, guest) {
      const reference = { namespace: 'default', name: vmName };
      const { podUID } = (await client.get<VirtualMachine>(virtualMachines, reference)).status?.placement ?? {};
      const value = { ...guest, podUID, sequence: ++sequence };
      await client.mergePatch(virtualMachines, reference, { status: { guest: value } }, { subresource: 'status' });
    },
  };
}

export function uniqueName(prefix: string): string {
  return `${prefix}-${randomUUID().slice(0, 8)}`;
}
