import { expect, test } from 'vitest';
import { outOfServiceTaint } from '../../api/labels.ts';
import type { VirtualMachine, VirtualMachineMigration } from '../../api/objects.ts';
import type { Node } from '../../kube/core-resources.ts';
import { type Status, said, facts as someFacts } from '../../migration/controller-examples.testing.ts';
import type { ControllerContext } from '../context.ts';
import { gatherFacts } from './facts.ts';

const lost = (name: string, ...taints: string[]): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name },
  spec: { taints: taints.map((key) => ({ key, effect: 'NoExecute' })) },
  status: { conditions: [{ type: 'Ready', status: 'Unknown' }] },
});

/** Both pods of a migration were removed by force. */
function afterRemoval({ fenced, nodes = [], status }: { fenced?: string; nodes?: Node[]; status: Status }) {
  const { virtualMachine, migration } = someFacts({ status });
  const annotations = fenced === undefined ? {} : { 'vmferry.io/fenced': fenced };
  const vm = { ...virtualMachine, metadata: { ...virtualMachine?.metadata, annotations } } as VirtualMachine;
  const context = {
    virtualMachines: { cache: { get: () => vm } },
    pods: { cache: { get: () => undefined, byIndex: () => [] } },
    nodes: { cache: { get: (name: string) => nodes.find(({ metadata }) => metadata.name === name) } },
    agents: { presenceOf: () => undefined },
    startedAt: 0,
    now: () => 1,
  };
  const { sourcePod, targetPod } = gatherFacts(
    context as unknown as ControllerContext,
    migration as VirtualMachineMigration,
  );
  expect([sourcePod.exists, targetPod.exists]).toEqual([false, false]);
  return [sourcePod.fenced !== undefined, targetPod.fenced !== undefined];
}

const status = said('Completed');

test.each<[string, Omit<Parameters<typeof afterRemoval>[0], 'status'>, [boolean, boolean]]>([
  ['proves nothing', { nodes: [lost('node-a'), lost('node-b')] }, [false, false]],
  ['is settled by the annotation with its UID: the source', { fenced: 'source-pod' }, [true, false]],
  ['is settled by the annotation with its UID: the target', { fenced: 'target-pod' }, [false, true]],
  ['is settled by the taint of its node: the source', { nodes: [lost('node-a', outOfServiceTaint)] }, [true, false]],
  ['is settled by the taint of its node: the target', { nodes: [lost('node-b', outOfServiceTaint)] }, [false, true]],
])('a pod whose object is gone %s', (_, given, expected) => {
  expect(afterRemoval({ ...given, status })).toEqual(expected);
});

test('a target pod that was not placed yet has no QEMU to be fenced', () => {
  const { targetPod: _, targetNode: __, ...unplaced } = status;
  expect(afterRemoval({ status: unplaced, nodes: [lost('node-b', outOfServiceTaint)] })).toEqual([false, false]);
});
