import { describe, expect, test } from 'vitest';
import type { VirtualMachineMigrationStatus } from '../api/virtual-machine-migration.gen.ts';
import { ownershipMoved, sourceGone, sourceSide, sourceWord, targetSide, targetWord } from './evidence.ts';

const status: VirtualMachineMigrationStatus = {
  attempt: 2,
  sourcePod: { name: 'web-1', uid: 'source-pod' },
  targetPod: { name: 'web-m-2', uid: 'target-pod' },
  source: { attempt: 2, podUID: 'source-pod', sequence: 3, verdict: 'Completed' },
  target: { attempt: 2, podUID: 'target-pod', sequence: 3, verdict: 'TookOver' },
};

test('a final word of this attempt, of its pod', () => {
  expect([sourceWord(status), targetWord(status)]).toEqual(['Completed', 'TookOver']);
});

describe('what does not count', () => {
  test.each<{ scenario: string; source?: object; target?: object }>([
    { scenario: 'of an earlier attempt', source: { attempt: 1 }, target: { attempt: 1 } },
    { scenario: 'of another pod', source: { podUID: 'another' }, target: { podUID: 'another' } },
    { scenario: 'one that was not said', source: { verdict: undefined }, target: { verdict: undefined } },
  ])('a word $scenario', ({ source, target }) => {
    const said = {
      ...status,
      source: { ...status.source, ...source },
      target: { ...status.target, ...target },
    } as VirtualMachineMigrationStatus;
    expect([sourceWord(said), targetWord(said)]).toEqual([undefined, undefined]);
  });

  test('a side of which nobody has spoken', () => {
    expect([sourceSide({ attempt: 1 }), targetSide({ attempt: 1 })]).toEqual([undefined, undefined]);
    expect(sourceWord({})).toBeUndefined();
  });
});

test('ownership has moved when the owner is this attempt’s target pod', () => {
  const owner = (podUID: string) => ({ owner: { podUID, generation: 2 } });
  expect(ownershipMoved({ ...status, ...owner('target-pod') })).toBe('OwnershipMoved');
  expect(ownershipMoved({ ...status, ...owner('source-pod') })).toBeUndefined();
  expect(ownershipMoved(status)).toBeUndefined();
  expect(ownershipMoved({})).toBeUndefined();
});

test('the source is gone when the controller says so of this attempt', () => {
  const abort = (fields: object) => ({
    ...status,
    abort: { attempt: 2, reason: 'SourceLost', message: '', ...fields },
  });
  expect(sourceGone(abort({ sourceGone: true }))).toBe('SourceGone');
  expect(sourceGone(abort({ sourceGone: true, attempt: 1 }))).toBeUndefined();
  expect(sourceGone(abort({}))).toBeUndefined();
  expect(sourceGone(status)).toBeUndefined();
});
