import { describe, expect, test } from 'vitest';
import {
  at,
  atSource,
  ended,
  type Given,
  lock,
  moved,
  type Status,
  sending,
  since,
  step,
} from './controller-examples.testing.ts';

const finished = { type: 'Finished', is: 'True' as const, reason: 'Migrated' };
const owner = { podUID: 'target-pod', generation: 2 };
const succeeded: Status = since(0, { ...sending, phase: 'Succeeded', owner, downtimeMilliseconds: 20 }, finished);
const failed: Status = since(0, { ...sending, phase: 'Failed' }, { ...finished, reason: 'TransferFailed' });
const spec = { ttlAfterFinished: '1h' };
const free = { status: { placement: moved.placement } };
const stayed = { status: { placement: atSource } };
const hour = 3_600_000;

describe('after its time', () => {
  test.each<[scenario: string, given: Given, effects: string[]]>([
    ['one that has moved is removed', { status: succeeded, vm: free, source: 'none', target: {} }, ['deleteMigration']],
    ['one that stayed is removed', { status: failed, vm: stayed }, ['deleteMigration']],
    ['one that says nothing stays', { status: failed, vm: stayed, spec: {} }, []],
    [
      'one that is asked to go at once has gone',
      { status: failed, vm: stayed, spec: { ttlAfterFinished: '0s' }, now: 0 },
      ['deleteMigration'],
    ],
    [
      'one that holds the lock gives it back first',
      { status: failed, vm: { status: { placement: atSource, migration: lock } } },
      ['unlockVirtualMachine'],
    ],
    ['one whose source is left stays', { status: succeeded, vm: free, source: { deleting: true }, target: {} }, []],
    ['one whose target is left stays', { status: failed, vm: stayed, target: { deleting: true } }, []],
    [
      'one that owes an earlier pod stays',
      { status: succeeded, vm: free, source: 'none', target: {}, debts: [{ deleting: true }] },
      [],
    ],
    [
      'one whose last pod has just ended lets that go first',
      { status: failed, vm: stayed, target: ended },
      ['releasePod'],
    ],
    [
      'one that is being deleted is let go',
      { status: failed, vm: stayed, metadata: { deletionTimestamp: at(0) } },
      ['removeFinalizer'],
    ],
    ['one that is under way is not looked at', { status: sending, target: {} }, []],
  ])('%s', (_, given, effects) => {
    expect(step({ now: 2 * hour, spec, ...given }).effects.map(({ kind }) => kind)).toEqual(effects);
  });

  test('it is looked at again when that is', () => {
    const given: Given = { status: failed, vm: stayed, spec };
    expect(step({ ...given, now: hour - 500_000 })).toMatchObject({ effects: [], lookAgainAfter: 500_000 });
    expect(step({ ...given, now: hour }).effects).toEqual([{ kind: 'deleteMigration' }]);
  });
});
