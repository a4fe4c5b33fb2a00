/** The pod of a VM. It lives for months with what it is born with: nothing here can be repaired in a running pod. */
import { annotations, finalizers, group, guestRunningCondition, labels } from '../api/labels.ts';
import type { VirtualMachineSpec } from '../api/virtual-machine.gen.ts';
import { qemuArguments, translationCacheMiB } from './command-line.ts';
import { type FirmwareFile, type FirmwareVolume, firmwareFiles } from './firmware-files.ts';
import type { HardwareDefinition } from './hardware.ts';
import { affinityOf, type PodAffinity } from './pod-affinity.ts';

export interface VirtualMachinePodOptions {
  readonly vm: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly spec: VirtualMachineSpec;
  };
  readonly hardware: HardwareDefinition;
  readonly podName: string;
  /** `start` boots the guest; `target` waits for a migration. */
  readonly role: 'start' | 'target';
  readonly qemuImage: string;
  /** The resource of a device plugin that hands out `/dev/kvm`, for guests that are executed with it. */
  readonly kvmResource?: string | undefined;
  readonly migration?: { readonly name: string; readonly uid: string; readonly attempt: number };
  /** Where the migration wants it. */
  readonly target?: { readonly nodeName?: string; readonly nodeSelector?: Record<string, string> };
  /** Nodes that it must not be placed on. */
  readonly avoidNodes?: readonly string[];
  /** Nodes that it is placed on only if no other takes it. */
  readonly shunNodes?: readonly string[];
  /** Whether the guest of a `start` pod stands still until it is continued. */
  readonly paused: boolean;
}

export interface Pod {
  apiVersion: 'v1';
  kind: 'Pod';
  metadata: {
    name: string;
    namespace: string;
    labels: Record<string, string>;
    annotations: Record<string, string>;
    finalizers: string[];
    ownerReferences: {
      apiVersion: string;
      kind: string;
      name: string;
      uid: string;
      controller: boolean;
      blockOwnerDeletion: boolean;
    }[];
  };
  spec: PodSpec;
}

interface PodSpec {
  restartPolicy: 'Never';
  terminationGracePeriodSeconds: number;
  automountServiceAccountToken: boolean;
  enableServiceLinks: boolean;
  securityContext: object;
  readinessGates: { conditionType: string }[];
  tolerations: { key: string; operator: string; effect: string }[];
  nodeSelector?: Record<string, string>;
  affinity: PodAffinity;
  containers: Container[];
  volumes: Volume[];
}

interface Container {
  name: string;
  image: string;
  imagePullPolicy: 'IfNotPresent';
  command: string[];
  args: string[];
  workingDir: string;
  env: ({ name: string; value: string } | { name: string; valueFrom: { fieldRef: { fieldPath: string } } })[];
  resources: { requests: Record<string, string>; limits: Record<string, string> };
  terminationMessagePolicy: 'FallbackToLogsOnError';
  lifecycle?: { preStop: { exec: { command: string[] } } };
  securityContext: object;
  volumeMounts: { name: string; mountPath: string; readOnly?: boolean }[];
}

type Volume = FirmwareVolume | { name: string; emptyDir: { medium: string; sizeLimit: string } };

const mebibyte = 1024 * 1024;

/** In the environment of a QEMU that waits for a migration: where its pod is reached. */
export const podAddressVariable = 'POD_IP';

/** Agents look for the sockets in the volume of this name. */
const runVolumeName = 'run';
const runFolder = '/vmferry/run';
/** Sockets, and a migration's certificates. */
const runVolumeMiB = 4;

/**
 * What QEMU takes beyond the guest's memory. Its own code, heap, thread stacks and buffers for as many streams as a migration may
 * have stay below 192 MiB; dirty bitmaps and page tables grow with the guest by less than 1/256; translated code is bounded by the
 * command line. Too little, and the kernel kills the guest.
 */
function overheadBytes({ accelerator, memoryBytes, cpu }: HardwareDefinition): number {
  const translationMiB = accelerator === 'tcg' ? translationCacheMiB : 0;
  const fixedMiB = 192 + runVolumeMiB + translationMiB + 4 * cpu.cores;
  return fixedMiB * mebibyte + Math.ceil(memoryBytes / 256);
}

/** Between the end of the time that the guest has to power itself down, and SIGKILL: for QEMU to end on SIGTERM. */
const secondsAfterPowerDown = 5;

/**
 * A node that does not answer must not lose its guests after five minutes, as pods without these do; and no more than these, so
 * that every other taint works.
 */
const tolerations = ['not-ready', 'unreachable'].map((condition) => ({
  key: `node.kubernetes.io/${condition}`,
  operator: 'Exists',
  effect: 'NoExecute',
}));

export function virtualMachinePod(options: VirtualMachinePodOptions): Pod {
  const { vm, hardware, podName, role, migration, target } = options;
  const { nodeSelector = {} } = vm.spec;
  const files = firmwareFiles(hardware.firmware);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: podName,
      namespace: vm.namespace,
      labels: {
        [labels.virtualMachine]: vm.name,
        [labels.role]: role,
        ...(migration === undefined
          ? {}
          : {
              [labels.migration]: migration.uid,
              [labels.migrationName]: migration.name,
              [labels.attempt]: String(migration.attempt),
            }),
      },
      annotations: { [annotations.hardwareHash]: hardware.hash },
      finalizers: [finalizers.guest],
      ownerReferences: [
        {
          apiVersion: `${group}/v1alpha1`,
          kind: 'VirtualMachine',
          name: vm.name,
          uid: vm.uid,
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec: {
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: powerDownSeconds(vm.spec) + secondsAfterPowerDown,
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 65532,
        runAsGroup: 65532,
        seccompProfile: { type: 'RuntimeDefault' },
      },
      readinessGates: [{ conditionType: guestRunningCondition }],
      tolerations,
      ...(Object.keys(nodeSelector).length === 0 ? {} : { nodeSelector }),
      affinity: affinityOf({
        virtualMachineName: vm.name,
        nodeName: target?.nodeName,
        avoidNodes: options.avoidNodes ?? [],
        shunNodes: options.shunNodes ?? [],
        nodeLabels: target?.nodeSelector ?? {},
      }),
      containers: [container(options, files)],
      volumes: [
        { name: runVolumeName, emptyDir: { medium: 'Memory', sizeLimit: `${runVolumeMiB}Mi` } },
        ...firstOfEachVolume(files).map(({ volume }) => volume),
      ],
    },
  };
}

function container(
  { vm, hardware, role, qemuImage, kvmResource, paused }: VirtualMachinePodOptions,
  files: readonly FirmwareFile[],
): Container {
  const memory = String(hardware.memoryBytes + overheadBytes(hardware));
  const { cpu = String(hardware.cpu.cores) } = vm.spec.resources?.requests ?? {};
  // Of such a resource as much is requested as is the limit.
  const device = hardware.accelerator === 'kvm' && kvmResource !== undefined ? { [kvmResource]: '1' } : {};
  const seconds = powerDownSeconds(vm.spec);
  return {
    name: 'qemu',
    image: qemuImage,
    imagePullPolicy: 'IfNotPresent',
    command: ['qemu-system-x86_64'],
    args: qemuArguments(hardware, { incoming: role === 'target', paused, name: `${vm.namespace}/${vm.name}` }),
    workingDir: runFolder,
    env: [
      ...files.map(({ variable, path }) => ({ name: variable, value: path })),
      // The node puts it in when it starts the container, and reports it up to a second later.
      ...(role === 'target'
        ? [{ name: podAddressVariable, valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }]
        : []),
    ],
    resources: { requests: { cpu, memory, ...device }, limits: { memory, ...device } },
    // When a state cannot be loaded, QEMU 7.2 says why on stderr only.
    terminationMessagePolicy: 'FallbackToLogsOnError',
    // SIGTERM ends QEMU at once; during the sleep the agent powers the guest down. It ends with QEMU, of whose container it is a
    // part: a sleep of the kubelet's own (`preStop.sleep`) would be sat out, and the end of QEMU be reported only then.
    ...(seconds === 0 ? {} : { lifecycle: { preStop: { exec: { command: ['sleep', String(seconds)] } } } }),
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
    volumeMounts: [
      { name: runVolumeName, mountPath: runFolder },
      ...firstOfEachVolume(files).map(({ volume, mountPath }) => ({ name: volume.name, mountPath, readOnly: true })),
    ],
  };
}

function firstOfEachVolume(files: readonly FirmwareFile[]): FirmwareFile[] {
  return files.filter(({ volume }, index) => files.findIndex((file) => file.volume.name === volume.name) === index);
}

function powerDownSeconds({ terminationGracePeriodSeconds = 30 }: VirtualMachineSpec): number {
  return terminationGracePeriodSeconds;
}
