/** VM pods in a namespace that enforces the Pod Security level `restricted`, as the API server judges them. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { VirtualMachineSpec } from '../../../src/api/virtual-machine.gen.ts';
import { KubeClient } from '../../../src/kube/client.ts';
import { type Pod, pods } from '../../../src/kube/core-resources.ts';
import { KubeTransport, loadKubeConfig } from '../../../src/kube/transport.ts';
import { defineHardware } from '../../../src/machine/hardware.ts';
import { virtualMachinePod } from '../../../src/machine/pod.ts';
import { startCluster } from '../../cluster/cluster.ts';
import { until } from '../../cluster/waiting.ts';

const namespace = 'guarded';
const uid = '0f8fad5b-d9cb-469f-a165-70867728950e';

const resources = new AsyncDisposableStack();
let client: KubeClient;
beforeAll(async () => {
  const cluster = resources.use(await startCluster({ network: 'loopback' }));
  client = new KubeClient(resources.use(new KubeTransport(loadKubeConfig(cluster.adminKubeconfig))));
  const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
  await cluster.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } });
  await until('pods can be created in it', 20_000, async () =>
    cluster.kubectl('get', 'serviceaccount', 'default', '-n', namespace).catch(() => undefined),
  );
});
afterAll(() => resources.disposeAsync());

async function create(podName: string, role: 'start' | 'target', firmware: VirtualMachineSpec['firmware']) {
  const spec: VirtualMachineSpec = { memory: '64Mi', firmware, networks: [{ name: 'default', podNetwork: {} }] };
  const pod = virtualMachinePod({
    vm: { name: 'web', namespace, uid, spec },
    hardware: defineHardware({ uid, spec }, { accelerator: 'tcg' }),
    podName,
    role,
    qemuImage: 'vmferry-qemu:1',
    migration: { name: 'move', uid, attempt: 1 },
    paused: role === 'target',
  });
  return await client.create<Pod>(pods, pod as never);
}

interface Confined {
  spec: {
    hostNetwork?: boolean;
    hostPID?: boolean;
    automountServiceAccountToken: boolean;
    securityContext: object;
    volumes: { emptyDir?: object }[];
    containers: { securityContext: object; ports?: object[] }[];
  };
}

test.each(['start', 'target'] as const)('a pod to %s has no rights, no token and no capability', async (role) => {
  const { spec } = (await create(`web-${role}`, role, { bios: {} })) as unknown as Confined;
  expect(spec.hostNetwork ?? spec.hostPID).toBeUndefined();
  // The API server would add a volume of the token.
  expect(spec.automountServiceAccountToken).toBe(false);
  expect(spec.volumes.map((volume) => Object.keys(volume).filter((key) => key !== 'name'))).toEqual([['emptyDir']]);
  expect(spec.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
  expect(spec.containers.map(({ securityContext, ports }) => ({ securityContext, ports }))).toEqual([
    {
      securityContext: {
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      },
      ports: undefined,
    },
  ]);
});

test('files of the node are the one thing that the level refuses', async () => {
  const kernel = { image: { hostPath: '/boot/vmlinuz' }, initrd: { hostPath: '/boot/initrd' }, commandLine: '' };
  for (const firmware of [{ kernel }, { bios: { image: { hostPath: '/usr/share/rom' } } }]) {
    await expect(create('web-files', 'start', firmware)).rejects.toThrow(
      /violates PodSecurity "restricted:latest": restricted volume types \([^)]*"hostPath"\)$/,
    );
  }
});
