import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { VirtualMachineSpec } from '../api/virtual-machine.gen.ts';
import { anyAccelerator, anySpec, exampleSpec, uid } from './examples.testing.ts';
import { defineHardware } from './hardware.ts';
import { virtualMachinePod } from './pod.ts';
import { parseQuantity } from './quantity.ts';

const vm = { name: 'web', namespace: 'default', uid, spec: exampleSpec };
const hardware = defineHardware({ uid, spec: exampleSpec }, { accelerator: 'tcg' });
const start = { vm, hardware, podName: 'web-1', role: 'start', qemuImage: 'vmferry-qemu:1', paused: false } as const;
const target = {
  ...start,
  podName: 'web-m',
  role: 'target',
  migration: { name: 'move', uid: 'm', attempt: 2 },
} as const;

describe('what a pod is born with', () => {
  test('it belongs to the VM, in either role, and is held until its QEMU is proven gone', () => {
    for (const options of [start, target]) {
      const { metadata } = virtualMachinePod(options);
      expect(metadata.finalizers).toEqual(['vmferry.io/guest']);
      expect(metadata.ownerReferences).toMatchObject([{ kind: 'VirtualMachine', uid, controller: true }]);
      expect(metadata.annotations).toEqual({ 'vmferry.io/hardware-hash': hardware.hash });
    }
  });

  test('labels tell its VM, its role, and the migration that made it', () => {
    const role = (name: string) => ({ 'vmferry.io/virtual-machine': 'web', 'vmferry.io/role': name });
    expect(virtualMachinePod(start).metadata.labels).toEqual(role('start'));
    const migration = {
      'vmferry.io/migration': 'm',
      'vmferry.io/migration-name': 'move',
      'vmferry.io/attempt': '2',
    };
    expect(virtualMachinePod(target).metadata.labels).toEqual({ ...role('target'), ...migration });
  });

  test('it survives a node that does not answer, and tolerates nothing else', () => {
    expect(virtualMachinePod(start).spec.tolerations).toEqual([
      { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute' },
      { key: 'node.kubernetes.io/unreachable', operator: 'Exists', effect: 'NoExecute' },
    ]);
  });

  test('files of the node are mounted for reading and named by variables', () => {
    const { containers, volumes } = virtualMachinePod(start).spec;
    expect(containers[0]?.env).toEqual([
      { name: 'KERNEL', value: '/vmferry/kernel' },
      { name: 'INITRD', value: '/vmferry/initrd' },
    ]);
    expect(containers[0]?.volumeMounts).toContainEqual({
      name: 'kernel',
      mountPath: '/vmferry/kernel',
      readOnly: true,
    });
    expect(volumes).toContainEqual({ name: 'kernel', hostPath: { path: '/boot/vmlinuz', type: 'File' } });
  });

  test('files of the cluster come by ConfigMap and claim, and two of the same by one volume', () => {
    const ofClaim = (path: string) => ({ persistentVolumeClaim: { claimName: 'guest', path } });
    const kernel = { image: ofClaim('boot/vmlinuz'), initrd: ofClaim('boot/initrd') };
    const podOf = (firmware: VirtualMachineSpec['firmware']) => {
      const spec = { ...exampleSpec, firmware };
      const pod = virtualMachinePod({ ...start, hardware: defineHardware({ uid, spec }, { accelerator: 'tcg' }) });
      const { containers, volumes } = pod.spec;
      return { env: containers[0]?.env, mounts: containers[0]?.volumeMounts.slice(1), volumes: volumes.slice(1) };
    };
    expect(podOf({ kernel })).toEqual({
      env: [
        { name: 'KERNEL', value: '/vmferry/kernel/boot/vmlinuz' },
        { name: 'INITRD', value: '/vmferry/kernel/boot/initrd' },
      ],
      mounts: [{ name: 'kernel', mountPath: '/vmferry/kernel', readOnly: true }],
      volumes: [{ name: 'kernel', persistentVolumeClaim: { claimName: 'guest', readOnly: true } }],
    });
    expect(podOf({ bios: { image: { configMap: { name: 'guest', key: 'guest.rom' } } } })).toEqual({
      env: [{ name: 'BIOS', value: '/vmferry/bios/guest.rom' }],
      mounts: [{ name: 'bios', mountPath: '/vmferry/bios', readOnly: true }],
      volumes: [{ name: 'bios', configMap: { name: 'guest' } }],
    });
  });

  test('a target is told its address when it starts', () => {
    const told = { name: 'POD_IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } };
    expect(virtualMachinePod(target).spec.containers[0]?.env).toContainEqual(told);
    expect(virtualMachinePod(start).spec.containers[0]?.env).not.toContainEqual(told);
  });

  test('a node sets aside a processor for each of its own, or as many as its owner says', () => {
    const cpuOf = (resources: VirtualMachineSpec['resources'] = {}) =>
      virtualMachinePod({ ...start, vm: { ...vm, spec: { ...exampleSpec, resources } } }).spec.containers[0]?.resources
        .requests.cpu;
    expect([cpuOf(), cpuOf({ requests: { cpu: '100m' } })]).toEqual(['2', '100m']);
  });

  test('whose guest is executed with KVM asks for the device, if it is handed out as a resource', () => {
    const asked = (accelerator: 'kvm' | 'tcg', kvmResource?: string) => {
      const definition = defineHardware({ uid, spec: exampleSpec }, { accelerator });
      const { requests = {}, limits = {} } =
        virtualMachinePod({ ...start, hardware: definition, kvmResource }).spec.containers[0]?.resources ?? {};
      return [Object.keys(requests), Object.keys(limits)];
    };
    const nothing = [['cpu', 'memory'], ['memory']];
    const device = 'devices.kubevirt.io/kvm';
    expect(asked('kvm', device)).toEqual([
      ['cpu', 'memory', device],
      ['memory', device],
    ]);
    expect(asked('kvm')).toEqual(nothing);
    expect(asked('tcg', device)).toEqual(nothing);
  });

  test('sockets lie in the memory-backed volume that QEMU works in', () => {
    const { containers, volumes } = virtualMachinePod(start).spec;
    expect(containers[0]?.volumeMounts).toContainEqual({ name: 'run', mountPath: containers[0]?.workingDir });
    expect(volumes).toContainEqual({ name: 'run', emptyDir: { medium: 'Memory', sizeLimit: '4Mi' } });
  });
});

describe('the time to power down', () => {
  const podFor = (terminationGracePeriodSeconds: number) => {
    const { spec } = virtualMachinePod({
      ...start,
      vm: { ...vm, spec: { ...exampleSpec, terminationGracePeriodSeconds } },
    });
    return [spec.terminationGracePeriodSeconds, spec.containers[0]?.lifecycle?.preStop.exec.command];
  };
  test('is slept away before SIGTERM', () => expect(podFor(60)).toEqual([65, ['sleep', '60']]));
  test('of zero needs no sleep', () => expect(podFor(0)).toEqual([5, undefined]));
});

describe('where a pod may go', () => {
  const affinity = (options: object) => virtualMachinePod({ ...target, ...options }).spec.affinity;
  const fields = (options: object) =>
    affinity(options).nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms;

  test('anywhere but beside another pod of the VM', () => {
    expect(affinity({})).toEqual({
      podAntiAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: [
          {
            labelSelector: { matchLabels: { 'vmferry.io/virtual-machine': 'web' } },
            topologyKey: 'kubernetes.io/hostname',
          },
        ],
      },
    });
  });

  test('to a named node, through the scheduler', () => {
    expect(fields({ target: { nodeName: 'b' }, avoidNodes: ['a'] })).toEqual([
      {
        matchFields: [
          { key: 'metadata.name', operator: 'In', values: ['b'] },
          { key: 'metadata.name', operator: 'NotIn', values: ['a'] },
        ],
      },
    ]);
  });

  test('anywhere but to nodes that it was given up on, one requirement for each', () => {
    expect(fields({ avoidNodes: ['a', 'c'] })).toEqual([
      {
        matchFields: [
          { key: 'metadata.name', operator: 'NotIn', values: ['a'] },
          { key: 'metadata.name', operator: 'NotIn', values: ['c'] },
        ],
      },
    ]);
    expect(fields({ avoidNodes: [] })).toBeUndefined();
  });

  test('rather to nodes at which not many arrive already', () => {
    const { nodeAffinity } = affinity({ avoidNodes: ['a'], shunNodes: ['b', 'c'] });
    expect(nodeAffinity).toMatchObject({
      preferredDuringSchedulingIgnoredDuringExecution: [
        {
          weight: 100,
          preference: {
            matchFields: [
              { key: 'metadata.name', operator: 'NotIn', values: ['b'] },
              { key: 'metadata.name', operator: 'NotIn', values: ['c'] },
            ],
          },
        },
      ],
    });
    expect(affinity({ shunNodes: ['b'] }).nodeAffinity).not.toHaveProperty(
      'requiredDuringSchedulingIgnoredDuringExecution',
    );
  });

  test('to nodes that both the VM and the migration select', () => {
    const selecting = { ...vm, spec: { ...exampleSpec, nodeSelector: { zone: 'a' } } };
    const options = { vm: selecting, target: { nodeSelector: { zone: 'b' } } };
    expect(virtualMachinePod({ ...target, ...options }).spec.nodeSelector).toEqual({ zone: 'a' });
    expect(fields(options)).toEqual([{ matchExpressions: [{ key: 'zone', operator: 'In', values: ['b'] }] }]);
  });
});

test('memory is guaranteed, and is more than the guest has', () => {
  fc.assert(
    fc.property(anySpec, anyAccelerator, (spec, accelerator) => {
      const definition = defineHardware({ uid, spec }, { accelerator });
      const pod = virtualMachinePod({ ...start, vm: { ...vm, spec }, hardware: definition });
      const { requests, limits } = pod.spec.containers[0]?.resources ?? { requests: {}, limits: {} };
      const limit = parseQuantity(limits.memory ?? '0');
      return requests.memory === limits.memory && limit > definition.memoryBytes + definition.memoryBytes / 512;
    }),
  );
});
