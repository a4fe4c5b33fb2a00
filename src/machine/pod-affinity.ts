import { labels } from '../api/labels.ts';

interface NodeRequirement {
  key: string;
  operator: 'In' | 'NotIn';
  values: string[];
}

interface NodeTerm {
  matchFields?: NodeRequirement[];
  matchExpressions?: NodeRequirement[];
}

export interface PodAffinity {
  nodeAffinity?: {
    requiredDuringSchedulingIgnoredDuringExecution?: { nodeSelectorTerms: NodeTerm[] };
    preferredDuringSchedulingIgnoredDuringExecution?: { weight: number; preference: NodeTerm }[];
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
  /** Nodes that it must not be placed on. */
  readonly avoidNodes: readonly string[];
  /** Nodes that it is placed on only if no other takes it. */
  readonly shunNodes: readonly string[];
  /** Labels that the node must carry beside those of the pod's own node selector. */
  readonly nodeLabels: Readonly<Record<string, string>>;
}

/**
 * Where a VM's pod may go. A node is asked for by its name as an affinity, never as `spec.nodeName`: the scheduler then still sees
 * to taints and room. Never beside another pod of the VM: both would fight for the same files, and a move must be one.
 */
export function affinityOf({
  virtualMachineName,
  nodeName,
  avoidNodes,
  shunNodes,
  nodeLabels,
}: Placement): PodAffinity {
  const matchFields: NodeRequirement[] = [
    ...(nodeName === undefined ? [] : [named('In', nodeName)]),
    // The API takes one name in each.
    ...avoidNodes.map((name) => named('NotIn', name)),
  ];
  const matchExpressions = Object.entries(nodeLabels).map(
    ([key, value]): NodeRequirement => ({ key, operator: 'In', values: [value] }),
  );
  const term = {
    ...(matchFields.length === 0 ? {} : { matchFields }),
    ...(matchExpressions.length === 0 ? {} : { matchExpressions }),
  };
  const required = { nodeSelectorTerms: [term] };
  const preference = { matchFields: shunNodes.map((name) => named('NotIn', name)) };
  const nodeAffinity = {
    // A term without requirements matches no node at all.
    ...(Object.keys(term).length === 0 ? {} : { requiredDuringSchedulingIgnoredDuringExecution: required }),
    ...(shunNodes.length === 0
      ? {}
      : { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, preference }] }),
  };
  const antiAffinity = {
    labelSelector: { matchLabels: { [labels.virtualMachine]: virtualMachineName } },
    topologyKey: 'kubernetes.io/hostname',
  };
  return {
    ...(Object.keys(nodeAffinity).length === 0 ? {} : { nodeAffinity }),
    podAntiAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [antiAffinity] },
  };
}

function named(operator: 'In' | 'NotIn', nodeName: string): NodeRequirement {
  return { key: 'metadata.name', operator, values: [nodeName] };
}
