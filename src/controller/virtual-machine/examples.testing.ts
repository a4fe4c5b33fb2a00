/** A VM, its pods and what is decided on them, with everything that a scenario does not mention left ordinary. */
import type { VirtualMachine } from '../../api/objects.ts';
import type { Hardware, PodFacts, Status, VirtualMachineFacts } from './facts.ts';

export const epoch = Date.parse('2026-01-02T03:04:05.678Z');
export const at = (milliseconds: number) => new Date(epoch + milliseconds).toISOString();

export const hardware: Hardware = {
  hash: 'a'.repeat(64),
  machineType: 'pc-q35-7.2',
  accelerator: 'tcg',
  uuid: '6b7c4c4e-8f38-4c2e-9d6b-1f6f2b1f0a01',
  cpu: { model: 'qemu64', cores: 1 },
  memoryBytes: 256 * 2 ** 20,
  firmware: { bios: {} },
  networks: [],
};

export interface VirtualMachineExample {
  spec?: Partial<VirtualMachine['spec']>;
  status?: Status;
  metadata?: Partial<VirtualMachine['metadata']>;
}

export function aVirtualMachine(options: VirtualMachineExample = {}): VirtualMachine {
  return {
    apiVersion: 'vmferry.io/v1alpha1',
    kind: 'VirtualMachine',
    metadata: {
      name: 'web',
      namespace: 'default',
      uid: 'vm-uid',
      resourceVersion: '1',
      generation: 1,
      creationTimestamp: at(0),
      finalizers: ['vmferry.io/virtual-machine'],
      ...options.metadata,
    },
    spec: { memory: '256Mi', firmware: { bios: {} }, powerState: 'Running', restartPolicy: 'Always', ...options.spec },
    ...(options.status === undefined ? {} : { status: options.status }),
  };
}

export function aPod(options: Partial<PodFacts> = {}): PodFacts {
  return {
    name: 'web-1',
    uid: 'pod-1',
    resourceVersion: '10',
    role: 'start',
    ours: true,
    nodeName: 'node-a',
    nodeReady: true,
    deleting: false,
    held: true,
    gated: false,
    container: { state: 'running' },
    guestRunning: false,
    ...options,
  };
}

/** A pod as it is just after its creation. */
export function aNewPod(options: Partial<PodFacts> = {}): PodFacts {
  const { nodeName: _, ...pod } = aPod({ gated: true, container: { state: 'unreported' } });
  return { ...pod, ...options };
}

export const placement = { generation: 1, podName: 'web-1', podUID: 'pod-1', nodeName: 'node-a' };
export const guest = { podUID: 'pod-1', runState: 'running', running: true, sequence: 1 };

export function ended(exitCode: number, options: { message?: string; ranMilliseconds?: number } = {}) {
  const { message = '', ranMilliseconds = 1_000 } = options;
  return { state: 'terminated', exitCode, message, ranMilliseconds } as const;
}

export function theFacts(options: Partial<VirtualMachineFacts> = {}): VirtualMachineFacts {
  return { now: epoch, virtualMachine: aVirtualMachine(), pods: [], lockHolderExists: true, hardware, ...options };
}
