import { describe, expect, test } from 'vitest';
import type { VirtualMachineMigration } from '../../api/objects.ts';
import { eventsFor } from './events.ts';

type Status = NonNullable<VirtualMachineMigration['status']>;

function migration(status: Status): VirtualMachineMigration {
  return {
    apiVersion: 'vmferry.io/v1alpha1',
    kind: 'VirtualMachineMigration',
    metadata: {
      name: 'move',
      namespace: 'default',
      uid: 'u',
      resourceVersion: '1',
      generation: 1,
      creationTimestamp: '',
    },
    spec: { virtualMachineName: 'web' },
    status,
  };
}

const begun: Status = { sourceNode: 'node-a', sourcePod: { name: 'web-1', uid: 'source-pod' } };
const sending: Status = {
  ...begun,
  targetNode: 'node-b',
  plan: { attempt: 1, endpoint: { host: '10.0.0.2', port: 4444 } },
};
const isTrue = (type: string) => ({ type, status: 'True' as const, reason: '', message: '', lastTransitionTime: '' });

function failedAttempt(attempt: number) {
  const finishedAt = '2026-01-01T00:00:00.000Z';
  return { attempt, targetNode: 'node-b', result: 'Failed', reason: 'TransferFailed', message: 'No.', finishedAt };
}

describe('events', () => {
  test.each<{ scenario: string; before: Status | undefined; after: Status; reasons: string[] }>([
    { scenario: 'an accepted migration', before: undefined, after: begun, reasons: ['Started'] },
    { scenario: 'a plan', before: begun, after: sending, reasons: ['TargetReady'] },
    {
      scenario: 'a request to give up',
      before: sending,
      after: { ...sending, abort: { attempt: 1, reason: 'TargetFailed', message: 'It ended.' } },
      reasons: ['TargetFailed'],
    },
    {
      scenario: 'a cancel that came too late',
      before: sending,
      after: { ...sending, conditions: [isTrue('CancelRejected')] },
      reasons: ['CancelRejected'],
    },
    {
      scenario: 'success before the pause is known',
      before: sending,
      after: { ...sending, phase: 'Succeeded' },
      reasons: [],
    },
    {
      scenario: 'the pause after the success',
      before: { ...sending, phase: 'Succeeded' },
      after: { ...sending, phase: 'Succeeded', downtime: '23ms', downtimeMilliseconds: 23 },
      reasons: ['Migrated'],
    },
    {
      scenario: 'the pause before the success',
      before: { ...sending, downtime: '23ms', downtimeMilliseconds: 23 },
      after: { ...sending, phase: 'Succeeded', downtime: '23ms', downtimeMilliseconds: 23 },
      reasons: ['Migrated'],
    },
    {
      scenario: 'a failure',
      before: sending,
      after: { ...sending, phase: 'Failed', reason: 'TransferFailed', message: 'No.' },
      reasons: ['TransferFailed'],
    },
    { scenario: 'a cancel', before: sending, after: { ...sending, phase: 'Cancelled' }, reasons: ['Cancelled'] },
    {
      scenario: 'a source that is gone',
      before: sending,
      after: { ...sending, conditions: [isTrue('SourceCleaned')] },
      reasons: ['SourceCleaned'],
    },
    {
      scenario: 'what only an operator can settle',
      before: sending,
      after: { ...sending, phase: 'NeedsAttention', reason: 'SourceSilent' },
      reasons: ['SourceSilent'],
    },
    {
      scenario: 'a failed attempt after another one',
      before: { ...sending, attempts: [failedAttempt(1)] },
      after: { ...sending, attempts: [failedAttempt(1), failedAttempt(2)] },
      reasons: ['TransferFailed'],
    },
    { scenario: 'a status that says the same', before: sending, after: { ...sending, message: 'new' }, reasons: [] },
    {
      scenario: 'several things at once',
      before: undefined,
      after: { ...sending, phase: 'Failed', reason: 'X' },
      reasons: ['Started', 'TargetReady', 'X'],
    },
  ])('$scenario: $reasons', ({ before, after, reasons }) => {
    expect(eventsFor(before, migration(after)).map(({ reason }) => reason)).toEqual(reasons);
  });

  test('how it ended is told on the VM, too', () => {
    const after = { ...sending, phase: 'Succeeded', downtime: '23ms', downtimeMilliseconds: 23 };
    expect(eventsFor(sending, migration(after))).toEqual([
      {
        type: 'Normal',
        reason: 'Migrated',
        note: 'vm/web moved from node-a to node-b; the guest stood still for 23ms',
        onVirtualMachine: true,
      },
    ]);
    expect(eventsFor(sending, migration({ ...sending, phase: 'Failed' }))).toMatchObject([{ onVirtualMachine: true }]);
  });

  test('a move whose pause was never measured is told', () => {
    const after = { ...sending, phase: 'Succeeded', conditions: [isTrue('SourceCleaned')] };
    const reasons = eventsFor({ ...sending, phase: 'Succeeded' }, migration(after)).map(({ reason }) => reason);
    expect(reasons).toContain('Migrated');
  });
});
