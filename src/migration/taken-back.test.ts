/** The target was taken for lost, or an old copy of the object said so, and the source runs the guest again. */
import { describe, expect, test } from 'vitest';
import {
  atSource,
  atTarget,
  condition,
  ended,
  type Given,
  kinds,
  lock,
  moved,
  type Status,
  said,
  since,
  step,
} from './controller-examples.testing.ts';
import { limits } from './limits.ts';

const back = {
  kind: 'moveOwnership',
  fromPodUID: 'target-pod',
  to: { nodeName: 'node-a', podName: 'web-1', podUID: 'source-pod' },
};
const atSourceAgain = { placement: { ...atSource, generation: 3 }, migration: lock };

describe('before the end', () => {
  test.each<{ scenario: string; given: Given }>([
    { scenario: 'the source gave up', given: { status: said('Aborted', 'Refused') } },
    { scenario: 'the source runs again', given: { status: said('Resumed', 'Gone') } },
    { scenario: 'the source is to continue the guest', given: { status: said('Completed', 'Gone') } },
    { scenario: 'the source ended, and the target had never run', given: { status: said('Gone'), source: ended } },
  ])('$scenario, and the VM was moved: first of all it is moved back', ({ given }) => {
    const misplaced: Given = { target: ended, ...given, vm: { status: moved } };
    expect(step(misplaced).effects).toEqual([back]);
    expect(step(misplaced).status?.phase).toBe('Transferring');
    expect(kinds({ ...misplaced, vm: { status: atSourceAgain } })).not.toContain('moveOwnership');
  });

  test.each([
    ['Completed', 'TookOver'],
    ['Completed', 'Lost'],
  ] as const)('never from a target that ran (%s, %s)', (source, target) => {
    const given: Given = { status: said(source, target), target: ended, vm: { status: moved } };
    expect(kinds(given)).toEqual([]);
    expect(step(given).status).toMatchObject({ owner: { podUID: 'target-pod' } });
  });
});

describe('after the end', () => {
  const finished = { type: 'Finished', is: 'True', reason: 'TargetLostAfterHandover' } as const;
  const lost = since(
    0,
    {
      ...said('Resumed', 'Gone'),
      phase: 'Failed',
      reason: 'TargetLostAfterHandover',
      message: 'vm/web is down.',
      owner: { podUID: 'target-pod', generation: 2 },
    },
    finished,
  );
  const given: Given = { status: lost, target: ended, vm: { status: moved }, now: 60_000 };
  const taken: Given = { ...given, vm: { status: atSourceAgain } };

  test('it is moved back, and then the status says where it is', () => {
    expect(step(given).effects).toEqual([back]);
    expect(step(taken).effects).toEqual([]);
    expect(step(taken).status).toMatchObject({
      phase: 'Failed',
      reason: 'TargetLost',
      message:
        'The target QEMU on node-b ended without having run the guest, which was continued on node-a. vm/web runs on node-a.',
    });
    expect(step(taken).status).not.toHaveProperty('owner');
  });

  test('then the target is what is left to remove, and the source is not touched', () => {
    const { status } = step(taken);
    const next: Given = { ...taken, status: status as Status, now: 1_000 };
    expect(step(next).effects).toMatchObject([{ kind: 'releasePod', pod: { uid: 'target-pod' } }]);
    expect(kinds({ ...next, target: 'none' })).toEqual(['unlockVirtualMachine']);
  });

  test('of two that are gone, the one that is placed stays so', () => {
    expect(kinds({ ...given, source: 'none', now: limits.downtimeTold })).toEqual(['unlockVirtualMachine']);
  });

  test('nor is it moved back to a source that has ended since', () => {
    expect(kinds({ ...given, source: ended })).not.toContain('moveOwnership');
    // But when it was moved back just before, its pod is the VM's, and not to be released.
    const placedThere = step({ ...taken, source: ended });
    expect(placedThere.effects).toEqual([]);
    expect(placedThere.status).not.toHaveProperty('owner');
  });

  test('a VM that has been given back stays where it is: what is left of the source goes as any debt', () => {
    const givenBack: Given = {
      ...given,
      source: { ...ended, deleting: true },
      vm: { status: { placement: atTarget } },
    };
    expect(kinds(givenBack)).toEqual(['releasePod']);
  });

  test('the conditions say it, too', () => {
    expect(condition(taken, 'Finished')).toMatchObject({ reason: 'TargetLost' });
    expect(condition(taken, 'Succeeded')).toMatchObject({ status: 'False', reason: 'TargetLost' });
  });

  test('the source is not to be cleaned any more', () => {
    const waiting = since(0, lost, { type: 'SourceCleaned' });
    expect(condition({ ...taken, status: waiting }, 'SourceCleaned')).toBeUndefined();
  });
});
