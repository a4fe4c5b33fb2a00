import { expect, test } from 'vitest';
import type { Node } from '../kube/core-resources.ts';
import { type FencingFacts, fencedBy } from './fencing.ts';

function node(ready: 'True' | 'False' | 'Unknown', ...taints: string[]): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'node-a' },
    spec: { taints: taints.map((key) => ({ key, effect: 'NoExecute' })) },
    status: { conditions: [{ type: 'Ready', status: ready }] },
  };
}

const outOfService = 'node.kubernetes.io/out-of-service';
const silent: FencingFacts = {
  podUID: 'pod-1',
  nodeName: 'node-a',
  reportedAlive: true,
  node: node('Unknown', 'node.kubernetes.io/unreachable'),
  fencedUID: undefined,
};

test.each<[string, Partial<FencingFacts>, string]>([
  ['the taint, on a node that is not ready', { node: node('Unknown', outOfService) }, 'node node-a is out of service'],
  ['the taint, on a node that says so itself', { node: node('False', outOfService) }, 'node node-a is out of service'],
  ['the annotation, with a node that is not ready', { fencedUID: 'pod-1' }, 'names pod pod-1'],
  ['the annotation, with a node that is gone', { fencedUID: 'pod-1', node: undefined }, 'names pod pod-1'],
  [
    'the annotation, with a node that is ready and has lost track of the pod',
    { fencedUID: 'pod-1', node: node('True'), reportedAlive: false },
    'names pod pod-1',
  ],
  ['the annotation of a pod on an unknown node', { fencedUID: 'pod-1', nodeName: undefined, node: undefined }, 'pod-1'],
])('%s proves the end', (_, facts, sentence) => {
  expect(fencedBy({ ...silent, ...facts })).toContain(sentence);
});

test.each<[string, Partial<FencingFacts>]>([
  ['a node that is not ready', {}],
  ['a node that is gone', { node: undefined }],
  ['a pod that is gone', { reportedAlive: false }],
  ["another pod's UID", { fencedUID: 'pod-2' }],
  ['the taint on a node that is ready', { node: node('True', outOfService) }],
  ['the annotation against the word of a node that is ready', { fencedUID: 'pod-1', node: node('True') }],
  ['another taint', { node: node('Unknown', 'node.kubernetes.io/unreachable', 'node.kubernetes.io/not-ready') }],
])('%s proves nothing', (_, facts) => {
  expect(fencedBy({ ...silent, ...facts })).toBeUndefined();
});
