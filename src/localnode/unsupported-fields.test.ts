import { describe, expect, test } from 'vitest';
import type { Pod } from '../kube/core-resources.ts';
import { defineHardware } from '../machine/hardware.ts';
import { virtualMachinePod } from '../machine/pod.ts';
import { examplePod, podUID } from './pod.testing.ts';
import { unsupportedFields } from './unsupported-fields.ts';

test.each(['start', 'target'] as const)('a VM’s %s pod is understood, with what the API server adds to it', (role) => {
  const spec = { memory: '64Mi', firmware: { kernel: { image: { hostPath: '/boot/vmlinuz' } } } };
  const hardware = defineHardware({ uid: podUID, spec }, { accelerator: 'tcg' });
  const vm = { name: 'web', namespace: 'default', uid: podUID, spec };
  const pod = virtualMachinePod({ vm, hardware, podName: 'web-1', role, qemuImage: 'image', paused: false });
  const defaults = {
    dnsPolicy: 'ClusterFirst',
    schedulerName: 'default-scheduler',
    preemptionPolicy: 'PreemptLowerPriority',
    priority: 0,
    serviceAccount: 'default',
    serviceAccountName: 'default',
    schedulingGates: [],
    nodeName: 'node-a',
  };
  expect(unsupportedFields({ ...pod, spec: { ...pod.spec, ...defaults } } as unknown as Pod)).toEqual([]);
});

const extra = (fields: object) => fields;

describe('what asks for more is named', () => {
  const volume = { name: 'run', emptyDir: {} };
  test.each([
    ['an init container', examplePod({}, extra({ initContainers: [{}] })), 'spec.initContainers'],
    ['the host’s network', examplePod({}, extra({ hostNetwork: true })), 'spec.hostNetwork'],
    ['restarts', examplePod({}, { restartPolicy: 'Always' }), 'spec.restartPolicy other than Never'],
    ['a probe', examplePod(extra({ livenessProbe: {} })), 'spec.containers[0].livenessProbe'],
    ['ports', examplePod(extra({ ports: [] })), 'spec.containers[0].ports'],
    ['a block device', examplePod({ volumeDevices: [] }), 'spec.containers[0].volumeDevices'],
    [
      'a working folder in no volume',
      examplePod({ workingDir: '/tmp' }),
      'spec.containers[0].workingDir outside of all volumes',
    ],
    [
      'a hook that runs something',
      examplePod({ lifecycle: extra({ preStop: { exec: {} } }) }),
      'spec.containers[0].lifecycle.preStop.exec other than a sleep',
    ],
    [
      'a value from elsewhere',
      examplePod({ env: [{ name: 'A', valueFrom: {} }] }),
      'spec.containers[0].env[0].valueFrom',
    ],
    [
      'a claim',
      examplePod({}, { volumes: [volume, { name: 'd', persistentVolumeClaim: { claimName: 'd' } }] }),
      'spec.volumes[1].persistentVolumeClaim',
    ],
    [
      'a folder of the host',
      examplePod({}, { volumes: [volume, { name: 'd', hostPath: { path: '/', type: 'Directory' } }] }),
      'spec.volumes[1].hostPath.type Directory',
    ],
  ])('%s', (_scenario, pod, field) => {
    expect(unsupportedFields(pod)).toEqual([field]);
  });

  test('two containers', () => {
    const { containers } = examplePod().spec;
    expect(unsupportedFields(examplePod({}, { containers: [...containers, ...containers] }))).toEqual([
      'spec.containers: more than one',
    ]);
  });

  test('a pod that is no VM’s', () => {
    const pod = examplePod();
    expect(unsupportedFields({ ...pod, metadata: { ...pod.metadata, labels: {} } })).toEqual([
      'no label vmferry.io/virtual-machine',
    ]);
  });
});
