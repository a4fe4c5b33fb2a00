/** Facts for the tests of the controller's decisions: a VM `web` on node-a, and its migration `move` to node-b. */
import type { VirtualMachine, VirtualMachineMigration } from '../api/objects.ts';
import { type ProtocolRange, protocol } from '../api/protocol.ts';
import type { AgentPresence, ControllerFacts, PodFacts, Room } from './controller-facts.ts';
import { controllerStep } from './controller-step.ts';
import type { SourceVerdict, TargetVerdict } from './evidence.ts';
import type { Preflight } from './preflight.ts';

export type Status = NonNullable<VirtualMachineMigration['status']>;
type Pod = Extract<PodFacts, { exists: true }>;
/** A pod that differs from an ordinary running one; without a node when that is undefined. */
export type PodExample = Partial<Omit<Pod, 'nodeName'>> & { nodeName?: string | undefined };

export const epoch = Date.parse('2026-01-02T03:04:05.678Z');
export const at = (milliseconds: number) => new Date(epoch + milliseconds).toISOString();
const metadata = { namespace: 'default', resourceVersion: '1', generation: 1, creationTimestamp: at(0) };
const none: PodFacts = { exists: false };

export const atSource = { nodeName: 'node-a', podName: 'web-1', podUID: 'source-pod', generation: 1 };
export const atTarget = { nodeName: 'node-b', podName: 'web-m-move-uid-1', podUID: 'target-pod', generation: 2 };
export const lock = { name: 'move', uid: 'move-uid' };

export const preflight: Preflight = {
  qemuVersion: '7.2.22',
  machineType: 'pc-q35-7.2',
  machineTypes: ['pc-q35-7.2'],
  accelerator: 'kvm',
  cpuModel: 'qemu64',
  cpuFeatures: 'f',
  memoryBytes: 2 ** 30,
  hardwareHash: 'h',
  runState: 'running',
  blockers: [],
};

export interface Given {
  /** Milliseconds since the scenario began. */
  now?: number;
  spec?: Partial<VirtualMachineMigration['spec']>;
  metadata?: Partial<VirtualMachineMigration['metadata']>;
  status?: Status;
  vm?: { spec?: Partial<VirtualMachine['spec']>; status?: VirtualMachine['status']; deleting?: boolean } | 'none';
  source?: PodExample | 'none';
  target?: PodExample | 'none';
  /** What earlier attempts have left. */
  debts?: PodExample[];
  /** Until when the agents were heard, in milliseconds since the scenario began; without a break until now when not said. */
  heard?: { source?: number | 'never'; target?: number | 'never' };
  /** What other migrations leave; everything, when not said. */
  room?: Partial<Room>;
  /** What this controller speaks; what it ships with, when not said. */
  protocol?: ProtocolRange;
}

/** An agent that was there before the scenario began. */
function presence(until: number | 'never' | undefined, now: number): AgentPresence | undefined {
  return until === 'never' ? undefined : { since: epoch - 3_600_000, seenAt: epoch + (until ?? now) };
}

export function facts({
  now = 0,
  spec,
  status,
  vm = {},
  source = {},
  target = 'none',
  debts = [],
  heard = {},
  room = {},
  ...given
}: Given): ControllerFacts {
  const pod = { resourceVersion: '1', deleting: false, held: true, running: true };
  const sourcePod = { exists: true as const, ...pod, name: 'web-1', uid: 'source-pod', nodeName: 'node-a' };
  const targetPod = { exists: true as const, ...pod, name: 'web-m-move-uid-1', uid: 'target-pod', nodeName: 'node-b' };
  const virtualMachine: VirtualMachine | undefined =
    vm === 'none'
      ? undefined
      : {
          apiVersion: 'vmferry.io/v1alpha1',
          kind: 'VirtualMachine',
          metadata: { ...metadata, name: 'web', uid: 'web-uid', ...(vm.deleting ? { deletionTimestamp: at(0) } : {}) },
          spec: { memory: '1Gi', firmware: { bios: {} }, powerState: 'Running', restartPolicy: 'Always', ...vm.spec },
          status: vm.status ?? { placement: atSource, ...(status === undefined ? {} : { migration: lock }) },
        };
  const agents = { source: presence(heard.source, now), target: presence(heard.target, now) };
  return {
    now: epoch + now,
    virtualMachine,
    agents: {
      ...(agents.source === undefined ? {} : { source: agents.source }),
      ...(agents.target === undefined ? {} : { target: agents.target }),
    },
    room: { fullNodes: [], ...room },
    protocol: given.protocol ?? protocol,
    debts: debts.map(
      (debt): PodFacts => ({ ...targetPod, name: 'web-m-move-uid-0', uid: 'debt-pod', ...debt }) as PodFacts,
    ),
    sourcePod: source === 'none' ? none : ({ ...sourcePod, ...source } as PodFacts),
    targetPod: target === 'none' ? none : ({ ...targetPod, ...target } as PodFacts),
    migration: {
      apiVersion: 'vmferry.io/v1alpha1',
      kind: 'VirtualMachineMigration',
      metadata: { ...metadata, name: 'move', uid: 'move-uid', finalizers: ['vmferry.io/migration'], ...given.metadata },
      spec: { virtualMachineName: 'web', ...spec },
      ...(status === undefined ? {} : { status }),
    },
  };
}

export const step = (given: Given) => controllerStep(facts(given));
export const kinds = (given: Given) => step(given).effects.map(({ kind }) => kind);
export const condition = (given: Given, type: string) =>
  step(given).status?.conditions?.find((each) => each.type === type);

/** The attempt has begun. */
export const begun: Status = {
  phase: 'Scheduling',
  timeline: [{ phase: 'Scheduling', at: at(0) }],
  attempt: 1,
  sourceNode: 'node-a',
  sourcePod: { name: 'web-1', uid: 'source-pod' },
};
export const placed: Status = {
  ...begun,
  phase: 'Checking',
  timeline: [{ phase: 'Checking', at: at(0) }],
  targetNode: 'node-b',
  targetPod: { name: 'web-m-move-uid-1', uid: 'target-pod' },
};
export const endpoint = { host: '10.0.0.2', port: 4444 };
export const side = { attempt: 1, sequence: 1, protocol, preflight };
export const checked: Status = {
  ...placed,
  source: { ...side, podUID: 'source-pod' },
  target: { ...side, podUID: 'target-pod', preflight: { ...preflight, runState: 'inmigrate' } },
};
export const sending: Status = { ...checked, phase: 'Transferring', plan: { attempt: 1, endpoint } };
sending.timeline = [{ phase: 'Transferring', at: at(0) }];

/** What the two agents have said last. */
export function said(source: SourceVerdict | undefined, target?: TargetVerdict, status: Status = sending): Status {
  return {
    ...status,
    source: { attempt: 1, sequence: 2, podUID: 'source-pod', ...(source === undefined ? {} : { verdict: source }) },
    target: { attempt: 1, sequence: 2, podUID: 'target-pod', ...(target === undefined ? {} : { verdict: target }) },
  };
}

export const ended = { terminated: { exitCode: 137 } };
export const moved = { placement: atTarget, migration: lock };

/** With a condition that has had this status since then, in milliseconds since the scenario began. */
export function since(
  milliseconds: number,
  status: Status,
  { type, is = 'False', reason = 'Waiting' }: { type: string; is?: 'True' | 'False'; reason?: string },
): Status {
  const known = { type, status: is, reason, message: '', lastTransitionTime: at(milliseconds) };
  return { ...status, conditions: [...(status.conditions ?? []), known] };
}
