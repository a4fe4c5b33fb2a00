import { labels } from '../api/labels.ts';
import type { Container, Pod } from '../kube/core-resources.ts';

export const podUID = '0f8fad5b-d9cb-469f-a165-70867728950e';

/** A pod that localnode runs: `command` in its run volume. */
export function examplePod(container: Partial<Container> = {}, spec: Partial<Pod['spec']> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web-1', namespace: 'default', uid: podUID, labels: { [labels.virtualMachine]: 'web' } },
    spec: {
      restartPolicy: 'Never',
      containers: [
        {
          name: 'qemu',
          image: 'vmferry-qemu',
          command: ['true'],
          workingDir: '/vmferry/run',
          volumeMounts: [{ name: 'run', mountPath: '/vmferry/run' }],
          ...container,
        },
      ],
      volumes: [{ name: 'run', emptyDir: { medium: 'Memory' } }],
      ...spec,
    },
  };
}
