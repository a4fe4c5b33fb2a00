/**
 * The built-in kinds that the project reads or writes, with the fields it uses and no others: the API server keeps what is not
 * named here as long as objects are patched, or replaced as they were read.
 */

import { defineResource, type KubeObject, type ObjectMeta } from './resource.ts';

export interface Pod extends KubeObject {
  metadata: ObjectMeta & { name: string; namespace: string };
  spec: PodSpec;
  status?: PodStatus;
}

interface PodSpec {
  nodeName?: string;
  nodeSelector?: Record<string, string>;
  affinity?: object;
  tolerations?: Toleration[];
  priorityClassName?: string;
  restartPolicy?: 'Always' | 'OnFailure' | 'Never';
  terminationGracePeriodSeconds?: number;
  readinessGates?: { conditionType: string }[];
  containers: Container[];
  volumes?: Volume[];
}

export interface Container {
  name: string;
  image?: string;
  command?: string[];
  args?: string[];
  workingDir?: string;
  env?: EnvironmentVariable[];
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
  volumeMounts?: { name: string; mountPath: string; subPath?: string; readOnly?: boolean }[];
  volumeDevices?: { name: string; devicePath: string }[];
  lifecycle?: { preStop?: { exec?: { command?: string[] } } };
  securityContext?: object;
  terminationMessagePolicy?: 'File' | 'FallbackToLogsOnError';
}

interface EnvironmentVariable {
  name: string;
  value?: string;
  valueFrom?: { fieldRef?: { fieldPath: string } };
}

export interface Volume {
  name: string;
  emptyDir?: { medium?: string; sizeLimit?: string };
  hostPath?: { path: string; type?: string };
  persistentVolumeClaim?: { claimName: string; readOnly?: boolean };
}

interface Toleration {
  key?: string;
  operator?: string;
  value?: string;
  effect?: string;
  tolerationSeconds?: number;
}

export interface PodStatus {
  phase?: 'Pending' | 'Running' | 'Succeeded' | 'Failed' | 'Unknown';
  reason?: string;
  message?: string;
  podIP?: string;
  podIPs?: { ip: string }[];
  hostIP?: string;
  startTime?: string;
  conditions?: ObjectCondition[];
  containerStatuses?: ContainerStatus[];
}

/** A condition of a pod or a node: unlike one of `metav1.Condition`, its times and texts may be missing. */
export interface ObjectCondition {
  type: string;
  status: 'True' | 'False' | 'Unknown';
  observedGeneration?: number;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
  lastHeartbeatTime?: string;
}

export interface ContainerStatus {
  name: string;
  image?: string;
  imageID?: string;
  containerID?: string;
  ready?: boolean;
  started?: boolean;
  restartCount?: number;
  state?: {
    waiting?: { reason?: string; message?: string };
    running?: { startedAt?: string };
    terminated?: ContainerTermination;
  };
}

interface ContainerTermination {
  exitCode: number;
  signal?: number;
  reason?: string;
  message?: string;
  startedAt?: string;
  finishedAt?: string;
  containerID?: string;
}

export interface Node extends KubeObject {
  metadata: ObjectMeta & { name: string };
  spec?: { taints?: { key: string; value?: string; effect: string }[]; unschedulable?: boolean; providerID?: string };
  status?: {
    addresses?: { type: string; address: string }[];
    capacity?: Record<string, string>;
    allocatable?: Record<string, string>;
    conditions?: ObjectCondition[];
    nodeInfo?: Record<string, string>;
  };
}

export interface Lease extends KubeObject {
  metadata: ObjectMeta & { name: string; namespace: string };
  spec?: LeaseSpec;
}

export interface LeaseSpec {
  holderIdentity?: string;
  leaseDurationSeconds?: number;
  leaseTransitions?: number;
  acquireTime?: string;
  renewTime?: string;
}

export interface ObjectReference {
  apiVersion?: string;
  kind?: string;
  namespace?: string;
  name?: string;
  uid?: string;
  resourceVersion?: string;
}

/** `policy/v1`. */
export interface PodDisruptionBudget extends KubeObject {
  metadata: ObjectMeta & { name: string; namespace: string };
  spec: { minAvailable?: number | string; selector?: { matchLabels?: Record<string, string> } };
}

/** `admissionregistration.k8s.io/v1`. */
export interface ValidatingWebhookConfiguration extends KubeObject {
  metadata: ObjectMeta & { name: string };
  /** `caBundle`: PEM in base64. */
  webhooks?: { name: string; clientConfig: { caBundle?: string } }[];
}

/** `events.k8s.io/v1`. */
export interface Event extends KubeObject {
  metadata: ObjectMeta & { name: string; namespace: string };
  eventTime: string;
  type: 'Normal' | 'Warning';
  reason: string;
  action: string;
  note?: string;
  regarding: ObjectReference;
  related?: ObjectReference;
  reportingController: string;
  reportingInstance: string;
  series?: { count: number; lastObservedTime: string };
}

export const pods = defineResource<Pod>({ group: '', version: 'v1', plural: 'pods', kind: 'Pod', namespaced: true });

export const nodes = defineResource<Node>({
  group: '',
  version: 'v1',
  plural: 'nodes',
  kind: 'Node',
  namespaced: false,
});

export const leases = defineResource<Lease>({
  group: 'coordination.k8s.io',
  version: 'v1',
  plural: 'leases',
  kind: 'Lease',
  namespaced: true,
});

export const events = defineResource<Event>({
  group: 'events.k8s.io',
  version: 'v1',
  plural: 'events',
  kind: 'Event',
  namespaced: true,
});

export const podDisruptionBudgets = defineResource<PodDisruptionBudget>({
  group: 'policy',
  version: 'v1',
  plural: 'poddisruptionbudgets',
  kind: 'PodDisruptionBudget',
  namespaced: true,
});

export const validatingWebhookConfigurations = defineResource<ValidatingWebhookConfiguration>({
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  plural: 'validatingwebhookconfigurations',
  kind: 'ValidatingWebhookConfiguration',
  namespaced: false,
});

/** `metav1.MicroTime` of a moment: six decimals, of which the last three are zeros. */
export function microTime(moment: Date): string {
  return moment.toISOString().replace('Z', '000Z');
}
