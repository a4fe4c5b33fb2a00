import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Cluster, startCluster } from '../cluster/cluster.ts';
import { apply } from './manifest-files.ts';

const apiVersion = 'vmferry.io/v1alpha1';

function vm(spec: object = {}, name = 'web') {
  const firmware = { bios: { image: { hostPath: '/var/lib/vmferry/guest.rom' } } };
  return {
    apiVersion,
    kind: 'VirtualMachine',
    metadata: { name },
    spec: { powerState: 'Stopped', memory: '64Mi', firmware, ...spec },
  };
}

function vmm(spec: object = {}, name = 'web-1') {
  return {
    apiVersion,
    kind: 'VirtualMachineMigration',
    metadata: { name },
    spec: { virtualMachineName: 'web', ...spec },
  };
}

describe('what the API server says to a bad manifest', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await startCluster();
  });
  afterAll(() => cluster?.[Symbol.asyncDispose]());

  const refused: [scenario: string, manifest: object, sentence: RegExp][] = [
    ['an unknown field', vmm({ virtualMachine: 'web' }), /unknown field "spec\.virtualMachine"/],
    [
      'an unknown field deep inside',
      vmm({ transfer: { maxBandwith: '1Gi' } }),
      /unknown field "spec\.transfer\.maxBandwith"/,
    ],
    ['no VM name', { ...vmm(), spec: {} }, /spec\.virtualMachineName: Required value/],
    [
      'a negative bandwidth',
      vmm({ transfer: { maxBandwidth: -5 } }),
      /must be a positive quantity of bytes per second/,
    ],
    [
      'a negative bandwidth as text',
      vmm({ transfer: { maxBandwidth: '-5Mi' } }),
      /must be a positive quantity of bytes per second/,
    ],
    [
      'a bandwidth that is no quantity',
      vmm({ transfer: { maxBandwidth: 'fast' } }),
      /must be a positive quantity of bytes per second/,
    ],
    ['a time to live without a unit', vmm({ ttlAfterFinished: '300' }), /must be a duration from 0s to 8760h/],
    ['a time to live of more than a year', vmm({ ttlAfterFinished: '8761h' }), /must be a duration from 0s to 8760h/],
    ['a downtime without a unit', vmm({ transfer: { maxDowntime: '300' } }), /must be a duration from 1ms to 2000s/],
    [
      'a target by name and by label',
      vmm({ target: { nodeName: 'a', nodeSelector: { b: 'c' } } }),
      /may carry nodeName or nodeSelector, not both/,
    ],
    ['a migration name too long', vmm({}, 'm'.repeat(64)), /metadata\.name must be at most 63 characters/],
    ['a VM name too long', vm({}, 'v'.repeat(41)), /metadata\.name must be at most 40 characters/],
    [
      'a VM name with a dot',
      vm({}, 'web.example'),
      /metadata\.name must consist of lower-case letters, digits and '-' only/,
    ],
    ['no memory', vm({ memory: undefined }), /spec\.memory: Required value/],
    ['memory that is no quantity', vm({ memory: 'plenty' }), /must be a quantity of bytes such as 512Mi or 4Gi/],
    ['memory that is not whole MiB', vm({ memory: '1500Ki' }), /must be a whole number of MiB/],
    [
      'a power state that does not exist',
      vm({ powerState: 'Halted' }),
      /Unsupported value: "Halted": supported values: "Running", "Paused", "Stopped"/,
    ],
    ['a machine type that QEMU does not have', vm({ machineType: 'i440fx' }), /spec\.machineType/],
    ['firmware from nowhere', vm({ firmware: { bios: { image: {} } } }), /must name one place: hostPath, configMap or/],
    [
      'firmware from two places',
      vm({ firmware: { bios: { image: { hostPath: '/rom', configMap: { name: 'guest', key: 'rom' } } } } }),
      /must name one place: hostPath, configMap or persistentVolumeClaim/,
    ],
    [
      'firmware outside of its volume',
      vm({ firmware: { kernel: { image: { persistentVolumeClaim: { claimName: 'guest', path: 'a/../../b' } } } } }),
      /path: .*must stay within the volume/,
    ],
    [
      'a share of a processor that is no quantity',
      vm({ resources: { requests: { cpu: 'half' } } }),
      /spec\.resources\.requests\.cpu/,
    ],
    ['no CPU cores', vm({ cpu: { cores: 0 } }), /spec\.cpu\.cores.*greater than or equal to 1/],
  ];

  test.each(refused)('%s is refused', async (_scenario, manifest, sentence) => {
    await expect(apply(cluster, manifest)).rejects.toThrow(sentence);
  });

  test('a good manifest of few lines is taken, and its defaults are filled in', async () => {
    await apply(cluster, vm({}, 'good'), vmm({ virtualMachineName: 'good' }, 'good-1'));
    const stored = JSON.parse(await cluster.kubectl('get', 'vm', 'good', '-o', 'json'));
    expect(stored.spec).toMatchObject({
      restartPolicy: 'Always',
      machineType: 'q35',
      cpu: { cores: 1, model: 'qemu64' },
    });
    const migration = JSON.parse(await cluster.kubectl('get', 'vmm', 'good-1', '-o', 'json'));
    expect(migration.spec).toMatchObject({ cancel: false, transfer: { maxDowntime: '300ms', timeout: '30m' } });
  });

  test('the VM and the target of a migration cannot be changed; bandwidth can', async () => {
    await apply(cluster, vmm({}, 'fixed'));
    await expect(apply(cluster, vmm({ virtualMachineName: 'other' }, 'fixed'))).rejects.toThrow(
      /virtualMachineName is immutable: delete this/,
    );
    await expect(apply(cluster, vmm({ target: { nodeName: 'b' } }, 'fixed'))).rejects.toThrow(
      /target is immutable: cancel this migration/,
    );
    await apply(cluster, vmm({ transfer: { maxBandwidth: '10Mi' } }, 'fixed'));
  });

  test('a cancel cannot be taken back', async () => {
    await apply(cluster, vmm({ cancel: true }, 'cancelled'));
    await expect(apply(cluster, vmm({ cancel: false }, 'cancelled'))).rejects.toThrow(/cancel cannot be taken back/);
  });

  test('each refusal is one sentence for a person, not a wall', async () => {
    const message = await apply(cluster, vmm({ transfer: { maxBandwidth: -5 } })).then(
      () => '',
      (error: Error) => error.message,
    );
    expect(
      message
        .trim()
        .split('\n')
        .filter((line) => line.includes('Invalid value')).length,
    ).toBeLessThanOrEqual(1);
  });
});
