import { describe, expect, test } from 'vitest';
import { labels } from '../../api/labels.ts';
import type { VirtualMachine, VirtualMachineMigration } from '../../api/objects.ts';
import { answerEviction, type EvictionFacts } from './decide.ts';

const now = Date.parse('2026-01-02T03:04:05.000Z');
const at = (milliseconds: number) => new Date(now + milliseconds).toISOString();
const common = { namespace: 'default', resourceVersion: '1', generation: 1, creationTimestamp: at(-3_600_000) };
const podUID = '0f8fad5b-d9cb-469f-a165-70867728950e';

interface Given {
  pod?: Partial<EvictionFacts['pod']>;
  vm?: Partial<VirtualMachine['spec']>;
  status?: VirtualMachine['status'];
  deletingVM?: boolean;
  migrations?: VirtualMachineMigration[];
  dryRun?: boolean;
}

/** The VM `web` runs in pod web-1 on node-a, which is to be evicted. */
function facts({ pod, vm, status, deletingVM, migrations = [], dryRun = false }: Given): EvictionFacts {
  const deleted = deletingVM ? { deletionTimestamp: at(0) } : {};
  return {
    now,
    dryRun,
    pod: {
      name: 'web-1',
      uid: podUID,
      nodeName: 'node-a',
      nodeReady: true,
      deleting: false,
      held: true,
      container: { state: 'running' },
      ...pod,
    },
    virtualMachine: {
      apiVersion: 'vmferry.io/v1alpha1',
      kind: 'VirtualMachine',
      metadata: { ...common, name: 'web', uid: 'web-uid', ...deleted },
      spec: { memory: '1Gi', firmware: { bios: {} }, powerState: 'Running', evictionPolicy: 'LiveMigrate', ...vm },
      status: { placement: { nodeName: 'node-a', podName: 'web-1', podUID, generation: 1 }, ...status },
    },
    migrations,
  };
}

interface Example {
  status?: VirtualMachineMigration['status'];
  cancel?: boolean;
  /** That an eviction of the pod has made it. */
  evicted?: boolean;
}

function migration(name: string, { status, cancel = false, evicted = false }: Example = {}): VirtualMachineMigration {
  const carried = evicted ? { labels: { [labels.evictedPod]: podUID } } : {};
  return {
    apiVersion: 'vmferry.io/v1alpha1',
    kind: 'VirtualMachineMigration',
    metadata: { ...common, name, uid: `uid-of-${name}`, ...carried },
    spec: { virtualMachineName: 'web', cancel },
    ...(status === undefined ? {} : { status }),
  };
}

function ended(phase: 'Succeeded' | 'Failed' | 'Cancelled', milliseconds: number): VirtualMachineMigration['status'] {
  const conditions = [
    { type: 'Finished', status: 'True' as const, reason: phase, message: '', lastTransitionTime: at(milliseconds) },
  ];
  return { phase, reason: 'Unschedulable', message: 'No node takes it. vm/web runs on node-a.', conditions };
}

const first = 'web-evict-0f8fad5b-1';
const second = 'web-evict-0f8fad5b-2';
const moving = { phase: 'Transferring', reason: 'Transferring', message: 'Memory is being sent to node-b.' };
const lock = { migration: { name: 'move', uid: 'uid-of-move' } };
const create = (name: string) => ({ kind: 'createMigration', name, podUID });

describe('a pod that may go', () => {
  test.each<[string, Given]>([
    ['its deletion has begun', { pod: { deleting: true } }],
    [
      'its QEMU has ended',
      { pod: { container: { state: 'terminated', exitCode: 0, message: '', ranMilliseconds: 1 } } },
    ],
    ['its node was fenced', { pod: { fenced: 'the node is off', container: { state: 'unreported' } } }],
    ['its QEMU has not been started', { pod: { container: { state: 'waiting', message: 'ImagePullBackOff' } } }],
    ['nothing is known of its container yet', { pod: { container: { state: 'unreported' } } }],
    ['its VM is to be stopped by evictions', { vm: { evictionPolicy: 'Stop' } }],
    ['it was left behind when its VM moved', { status: { placement: { podUID: 'other', generation: 2 } } }],
    [
      'it is what a migration that has ended leaves',
      {
        pod: { uid: 'target', migrationUID: 'uid-of-move' },
        migrations: [migration('move', { status: ended('Failed', -1_000) })],
      },
    ],
  ])('%s', (_, given) => {
    expect(answerEviction(facts(given))).toEqual({ kind: 'allow' });
    expect(answerEviction(facts({ ...given, dryRun: true }))).toEqual({ kind: 'allow' });
  });
});

describe('the pod that runs the VM', () => {
  test('a migration is made', () => {
    expect(answerEviction(facts({}))).toEqual({
      kind: 'refuse',
      message: `vmm/${first} is made to carry vm/web away from node-a.`,
      effect: create(first),
    });
  });

  test('a dry run says what would be, and makes nothing', () => {
    expect(answerEviction(facts({ dryRun: true }))).toEqual({
      kind: 'refuse',
      message: `This is a dry run and starts nothing; otherwise: vmm/${first} is made to carry vm/web away from node-a.`,
    });
  });

  test.each<[string, Given, string]>([
    ['a migration moves it', { status: lock, migrations: [migration('move', { status: moving })] }, 'Transferring'],
    [
      'a migration moves it, though it is to be stopped',
      { status: lock, vm: { evictionPolicy: 'Stop' }, migrations: [migration('move', { status: moving })] },
      'Transferring',
    ],
    ['a migration that is not in the cache moves it', { status: lock }, 'vmm/move carries vm/web away from node-a.'],
    ['a migration waits for its turn', { migrations: [migration('queued')] }, 'vmm/queued carries vm/web away'],
    [
      'a migration has just brought it',
      { pod: { migrationUID: 'uid-of-move' }, status: lock, migrations: [migration('move', { status: moving })] },
      'moved on when that has ended',
    ],
    ['it is being stopped', { vm: { powerState: 'Stopped' } }, 'vm/web is being powered down'],
    ['its VM is being deleted', { deletingVM: true }, 'vm/web is being powered down'],
  ])('%s: that is waited for', (_, given, message) => {
    expect(answerEviction(facts(given))).toEqual({ kind: 'refuse', message: expect.stringContaining(message) });
  });

  test.each<[string, Given]>([
    ['its node lost track of it', { pod: { container: { state: 'lost' } } }],
    ['its node rejects it', { pod: { rejection: 'OutOfcpu', container: { state: 'unreported' } } }],
    ['it is paused', { vm: { powerState: 'Paused' } }],
    ['another migration is being given up', { migrations: [migration('unwanted', { cancel: true })] }],
    ['another migration has failed', { migrations: [migration('by-hand', { status: ended('Failed', -1) })] }],
  ])('%s: a migration is made', (_, given) => {
    expect(answerEviction(facts(given))).toMatchObject({ kind: 'refuse', effect: create(first) });
  });
});

describe('a migration that an eviction has made', () => {
  const failed = (milliseconds: number) => migration(first, { status: ended('Failed', milliseconds), evicted: true });

  test('has failed a moment ago: it is told why, and when another follows', () => {
    expect(answerEviction(facts({ migrations: [failed(-9_000)] }))).toEqual({
      kind: 'refuse',
      message: `vmm/${first} failed: Unschedulable: No node takes it. vm/web runs on node-a. The next eviction after ${at(1_000)} makes another migration.`,
    });
  });

  test('has failed ten seconds ago: another follows', () => {
    expect(answerEviction(facts({ migrations: [failed(-10_000)] }))).toEqual({
      kind: 'refuse',
      message: `vmm/${second} is made to carry vm/web away from node-a. vmm/${first} failed: Unschedulable: No node takes it. vm/web runs on node-a.`,
      effect: create(second),
    });
  });

  test.each([
    [2, 20_000],
    [3, 40_000],
    [6, 300_000],
    [20, 300_000],
  ])('has failed %i times in a row: %i ms lie between', (times, wait) => {
    const migrations = (ago: number) =>
      Array.from({ length: times }, (_, index) =>
        migration(`web-evict-0f8fad5b-${index + 1}`, { status: ended('Failed', -ago - index), evicted: true }),
      );
    expect(answerEviction(facts({ migrations: migrations(wait - 1) }))).not.toHaveProperty('effect');
    const name = `web-evict-0f8fad5b-${times + 1}`;
    expect(answerEviction(facts({ migrations: migrations(wait) }))).toHaveProperty('effect', create(name));
  });

  test('has failed an hour ago: it counts no more, but for its name', () => {
    const answer = answerEviction(facts({ migrations: [failed(-3_600_000)] }));
    expect(answer).toEqual({ kind: 'refuse', message: expect.not.stringContaining('failed'), effect: create(second) });
  });

  test('was cancelled: another follows at once', () => {
    const migrations = [migration(first, { status: ended('Cancelled', -1), evicted: true })];
    expect(answerEviction(facts({ migrations }))).toHaveProperty('effect', create(second));
  });

  test('has failed by a clock that is ahead: the wait is no longer for that', () => {
    const answer = answerEviction(facts({ migrations: [failed(3_600_000)] }));
    expect(answer).toMatchObject({ message: expect.stringContaining(at(10_000)) });
  });
});

describe('the target pod of a migration', () => {
  const target = { name: 'web-m-move-1', uid: 'target', nodeName: 'node-b', migrationUID: 'uid-of-move' };

  test.each<[string, Partial<EvictionFacts['pod']>]>([
    ['waits for the guest', {}],
    ['is being started', { container: { state: 'waiting', message: '' } }],
  ])('that %s: its migration is cancelled', (_, state) => {
    const given = { pod: { ...target, ...state }, status: lock, migrations: [migration('move', { status: moving })] };
    const effect = { kind: 'cancelMigration', name: 'move', uid: 'uid-of-move' };
    expect(answerEviction(facts(given))).toMatchObject({ kind: 'refuse', effect });
    const dry = answerEviction(facts({ ...given, dryRun: true }));
    expect(dry).toEqual({ kind: 'refuse', message: expect.stringContaining('dry run') });
  });

  test('whose migration is being cancelled: that is waited for', () => {
    const migrations = [migration('move', { status: moving, cancel: true })];
    const answer = answerEviction(facts({ pod: target, status: lock, migrations }));
    expect(answer).toEqual({ kind: 'refuse', message: expect.stringContaining('is being cancelled') });
  });
});
