import { labels } from '../api/labels.ts';

export interface PodAffinity {
  nodeAffinity?: {
    requiredDuringSchedulingIgnoredDuringExecution: {
      nodeSelectorTerms: { matchFields: { key: string; operator: 'In' | 'NotIn'; values: string[] }[] }[];
    };
  };
  podAntiAffinity: {
    requiredDuringSchedulingIgnoredDuringExecution: {
      labelSelector: { matchLabels: Record<string, string> };
      topologyKey: string;
    }[];
  };
}

interface Placement {
  readonly virtualMachineName: string;
  readonly nodeName: string | undefined;
  readonly avoidNode: string | undefined;
}

/**
 * Where a VM's pod may go. A node is asked for by its name as an affinity, never as `spec.nodeName`: the scheduler then still sees
 * to taints and room. Never beside another pod of the VM: both would fight for the same files, and a move must be one.
 */
export function affinityOf({ virtualMachineName, nodeName, avoidNode }: Placement): PodAffinity {
  const matchFields = [
    ...(nodeName === undefined ? [] : [{ key: 'metadata.name', operator: 'In' as const, values: [nodeName] }]),
    ...(avoidNode === undefined ? [] : [{ key: 'metadata.name', operator: 'NotIn' as const, values: [avoidNode] }]),
  ];
  const antiAffinity = {
    labelSelector: { matchLabels: { [labels.virtualMachine]: virtualMachineName } },
    topologyKey: 'kubernetes.io/hostname',
  };
  return {
    ...(matchFields.length === 0
      ? {}
      : { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchFields }] } } }),
    podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [antiAffinity] },
  };
}
