import { expect, test } from 'vitest';
import type { VirtualMachine } from '../api/objects.ts';
import type { Node, Pod, PodStatus } from '../kube/core-resources.ts';
import { isGone, lacksEvidence, podEvidence, vanishedPodFenced } from './pod-evidence.ts';
import { aVirtualMachine } from './virtual-machine/examples.testing.ts';

const node = (ready: boolean): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: 'node-a' },
  status: { conditions: [{ type: 'Ready', status: ready ? 'True' : 'Unknown' }] },
});

const contextWith = (node: Node | undefined) =>
  ({ nodes: { cache: { get: (name: string) => (name === 'node-a' ? node : undefined) } } }) as never;

function aPod(status: PodStatus, { nodeName = 'node-a', deleting = false } = {}): Pod {
  const deletionTimestamp = deleting ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {};
  const metadata = { name: 'web-1', namespace: 'default', uid: 'pod-1', finalizers: ['vmferry.io/guest'] };
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { ...metadata, ...deletionTimestamp },
    spec: { containers: [], nodeName },
    status,
  };
}

const containers = (state: object): PodStatus => ({ containerStatuses: [{ name: 'qemu', state }] });
const runs = containers({ running: {} });
const vm = (fenced?: string): VirtualMachine =>
  aVirtualMachine(fenced === undefined ? {} : { metadata: { annotations: { 'vmferry.io/fenced': fenced } } });

test.each<[string, Pod, boolean, string | undefined, 'gone' | 'unproven' | 'awaited']>([
  ['a container that runs', aPod(runs), true, undefined, 'awaited'],
  ['a container that runs, as was last heard', aPod(runs), false, undefined, 'unproven'],
  ['the same, annotated', aPod(runs), false, ' pod-1\n', 'gone'],
  ['a container that runs, annotated', aPod(runs), true, 'pod-1', 'awaited'],
  ['a container that has ended', aPod(containers({ terminated: { exitCode: 0 } })), false, undefined, 'gone'],
  [
    'a container of which its node has lost track',
    aPod(containers({ terminated: { exitCode: 137, reason: 'ContainerStatusUnknown' } })),
    true,
    undefined,
    'unproven',
  ],
  ['a pod that its node has rejected', aPod({ phase: 'Failed', reason: 'OutOfcpu' }), true, undefined, 'unproven'],
  ['the same, annotated', aPod({ phase: 'Failed', reason: 'OutOfcpu' }), true, 'pod-1', 'gone'],
  [
    'a container that runs in a pod that the garbage collector has called failed',
    aPod({ ...runs, phase: 'Failed' }),
    true,
    'pod-1',
    'awaited',
  ],
  ['a pod that is not bound', aPod({}, { nodeName: '' }), true, undefined, 'awaited'],
  ['the same, annotated, which may still be bound', aPod({}, { nodeName: '' }), true, 'pod-1', 'awaited'],
  ['a pod that cannot be bound any more', aPod({}, { nodeName: '', deleting: true }), true, undefined, 'gone'],
  ['a pod that is being deleted', aPod(runs, { deleting: true }), true, undefined, 'awaited'],
])('%s', (_, pod, ready, fenced, expected) => {
  const evidence = podEvidence(contextWith(node(ready)), pod, vm(fenced));
  expect([isGone(evidence), lacksEvidence(evidence)]).toEqual([expected === 'gone', expected === 'unproven']);
});

test('an end that the kernel or the node brought about is told as one', () => {
  const evidenceOf = (status: PodStatus) => podEvidence(contextWith(node(true)), aPod(status), vm());
  const killed = containers({ terminated: { exitCode: 137, reason: 'OOMKilled' } });
  expect(evidenceOf({ ...killed, phase: 'Failed' })).toMatchObject({ container: { message: 'OOMKilled' } });
  const over = containers({ terminated: { exitCode: 0, reason: 'Completed' } });
  const evicted = evidenceOf({ ...over, phase: 'Failed', reason: 'Evicted', message: 'Too much.' });
  expect(evicted).toMatchObject({ evicted: 'Evicted: Too much.', container: { message: '' } });
  const target = (reason: string): PodStatus => ({
    ...over,
    phase: 'Succeeded',
    conditions: [{ type: 'DisruptionTarget', status: 'True', reason, message: 'Too much.' }],
  });
  expect(evidenceOf(target('TerminationByKubelet'))).toMatchObject({ evicted: 'TerminationByKubelet: Too much.' });
  expect(evidenceOf(target('EvictionByEvictionAPI'))).not.toHaveProperty('evicted');
  expect(evidenceOf({ ...over, phase: 'Succeeded' })).not.toHaveProperty('evicted');
});

test('of a container that its kubelet has forgotten its agent’s word is believed', () => {
  const lost = containers({ terminated: { exitCode: 137, reason: 'ContainerStatusUnknown' } });
  const evicted = { phase: 'Failed', reason: 'Evicted', message: 'Too much.' } as const;
  const told = (podUID: string, runState: string) =>
    aVirtualMachine({ status: { guest: { podUID, runState, sequence: 3 } } });
  const evidenceOf = (status: PodStatus, vm: VirtualMachine) =>
    podEvidence(contextWith(node(true)), aPod({ ...status, ...evicted }), vm);
  for (const status of [lost, {}]) {
    const evidence = evidenceOf(status, told('pod-1', 'ended'));
    expect([isGone(evidence), lacksEvidence(evidence)]).toEqual([true, false]);
    expect(evidence).toMatchObject({ fenced: 'the agent on node-a has seen it end', evicted: 'Evicted: Too much.' });
    for (const vm of [told('pod-1', 'running'), told('pod-0', 'ended')])
      expect(isGone(evidenceOf(status, vm))).toBe(false);
  }
  expect(isGone(evidenceOf(runs, told('pod-1', 'ended'))), 'its node is to report its end').toBe(false);
});

test('a pod whose object is gone is settled by the annotation alone', () => {
  const fenced = (node: Node | undefined, uid?: string) =>
    vanishedPodFenced(contextWith(node), { uid: 'pod-1', nodeName: 'node-a' }, vm(uid));
  expect([fenced(undefined), fenced(node(true)), fenced(node(false)), fenced(node(false), 'pod-2')]).toEqual(
    Array(4).fill(undefined),
  );
  expect(fenced(node(true), 'pod-1')).toContain('names pod pod-1');
});
