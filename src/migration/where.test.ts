import { describe, expect, test } from 'vitest';
import type { ControllerFacts, PodFacts } from './controller-facts.ts';
import { runsWhere, whatSettlesIt, yetToBeGone } from './where.ts';

const pod: Extract<PodFacts, { exists: true }> = {
  exists: true,
  name: 'web-1',
  uid: 'source-pod',
  resourceVersion: '1',
  nodeName: 'node-a',
  deleting: false,
  held: true,
  running: true,
};
const metadata = {
  name: 'web',
  namespace: 'default',
  uid: 'u',
  resourceVersion: '1',
  generation: 1,
  creationTimestamp: '2026-01-02T03:04:05Z',
};
type VirtualMachine = NonNullable<ControllerFacts['virtualMachine']>;

interface Given {
  status?: VirtualMachine['status'];
  source?: Partial<typeof pod>;
  resumeTarget?: boolean;
}

function facts({ status, source = {}, resumeTarget }: Given): ControllerFacts {
  const placement = { nodeName: 'node-a', podName: 'web-1', podUID: 'source-pod', generation: 1 };
  const side = { attempt: 1, podUID: 'source-pod', sequence: 1 };
  return {
    now: 0,
    migration: {
      apiVersion: 'vmferry.io/v1alpha1',
      kind: 'VirtualMachineMigration',
      metadata,
      spec: { virtualMachineName: 'web' },
      status: resumeTarget === undefined ? {} : { source: { ...side, resumeTarget } },
    },
    virtualMachine: {
      apiVersion: 'vmferry.io/v1alpha1',
      kind: 'VirtualMachine',
      metadata,
      spec: { memory: '1Gi', firmware: { bios: {} } },
      status: { placement, ...status },
    },
    sourcePod: { ...pod, ...source },
    targetPod: { exists: false },
    debts: [],
    agents: {},
    room: { fullNodes: [] },
    protocol: { oldest: 1, newest: 1 },
  };
}

describe('where the VM is', () => {
  const guest = { podUID: 'source-pod', runState: 'paused', running: false, sequence: 1 };

  test.each<{ scenario: string; given: Given; says: string }>([
    { scenario: 'it runs', given: {}, says: 'vm/web runs on node-a.' },
    { scenario: 'its agent sees it stand still', given: { status: { guest } }, says: 'vm/web is on node-a.' },
    { scenario: 'it stood still when it was moved', given: { resumeTarget: false }, says: 'vm/web is on node-a.' },
    {
      scenario: 'what was seen of another pod of it does not count',
      given: { status: { guest: { ...guest, podUID: 'another' } } },
      says: 'vm/web runs on node-a.',
    },
    {
      scenario: 'its QEMU has ended',
      given: { source: { terminated: { exitCode: 1 } } },
      says: 'vm/web is down: its QEMU on node-a has ended.',
    },
    {
      scenario: 'its node was fenced',
      given: { source: { fenced: 'node-a is off' } },
      says: 'vm/web is down: its QEMU on node-a has ended.',
    },
    { scenario: 'it has no place yet', given: { status: { placement: { generation: 1 } } }, says: '' },
  ])('$scenario', ({ given, says }) => {
    expect(runsWhere(facts(given))).toBe(says);
  });

  test('a VM that is gone is nowhere', () => {
    expect(runsWhere({ ...facts({}), virtualMachine: undefined })).toBe('');
  });
});

test('what is left is named, with its node', () => {
  const { nodeName: _, ...unplaced } = { ...pod, name: 'web-m-2' };
  expect(yetToBeGone([pod, unplaced, { exists: false }])).toBe(
    'Yet to be seen gone: pod web-1 on node-a, pod web-m-2.',
  );
  expect(yetToBeGone([{ exists: false }])).toBe('');
});

describe('what settles it', () => {
  const says = whatSettlesIt('node-b', 'target-pod', facts({}).migration);

  test('names both commands, ready to be pasted', () => {
    expect(says).toContain('kubectl taint node node-b node.kubernetes.io/out-of-service=nodeshutdown:NoExecute');
    expect(says).toContain('kubectl annotate vm web -n default --overwrite vmferry.io/fenced=target-pod');
  });
});
