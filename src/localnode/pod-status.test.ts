import { describe, expect, test } from 'vitest';
import { guestRunningCondition } from '../api/labels.ts';
import type { ObjectCondition, Pod } from '../kube/core-resources.ts';
import { examplePod } from './pod.testing.ts';
import { isReported, podStatusPatch, rejectedStatusPatch } from './pod-status.ts';
import type { ProcessState } from './process-state.ts';

const startedAt = new Date('2026-01-01T00:00:00.700Z');
const finishedAt = new Date('2026-01-01T00:00:09.900Z');
const now = new Date('2026-01-01T00:01:00Z');
const running: ProcessState = { state: 'running', startedAt };
const ended = (exitCode: number, message = ''): ProcessState => ({
  state: 'ended',
  exitCode,
  reason: exitCode === 0 ? 'Completed' : 'Error',
  message,
  startedAt,
  finishedAt,
});

const gated = (conditions: ObjectCondition[] = []): Pod => {
  const pod = examplePod({}, { readinessGates: [{ conditionType: guestRunningCondition }] });
  return { ...pod, status: { conditions } };
};
const statusOf = (process: ProcessState, pod = gated()) => podStatusPatch(pod, process, '127.0.0.2', now);
const condition = (status: { conditions: ObjectCondition[] }, type: string) =>
  status.conditions.find((each) => each.type === type);

describe('the container', () => {
  test('runs since the process does, at the node’s address', () => {
    const status = statusOf(running);
    expect(status).toMatchObject({ phase: 'Running', podIP: '127.0.0.2', hostIP: '127.0.0.2' });
    expect(status.containerStatuses?.[0]).toMatchObject({
      ready: true,
      state: { running: { startedAt: '2026-01-01T00:00:00Z' } },
    });
  });

  const times = { startedAt: '2026-01-01T00:00:00Z', finishedAt: '2026-01-01T00:00:09Z' };
  test.each([
    ['ended well', ended(0), 'Succeeded', { exitCode: 0, reason: 'Completed', ...times }],
    [
      'failed, and says why',
      ended(1, 'no kernel\n'),
      'Failed',
      { exitCode: 1, reason: 'Error', message: 'no kernel\n', ...times },
    ],
    ['was killed', ended(137), 'Failed', { exitCode: 137, signal: 9, reason: 'Error', ...times }],
  ])('%s', (_scenario, process, phase, terminated) => {
    const status = statusOf(process);
    expect([status.phase, status.containerStatuses?.[0]?.state]).toEqual([phase, { terminated }]);
    expect(condition(status, 'Ready')?.status).toBe('False');
  });
});

describe('readiness', () => {
  test('waits for the gates', () => {
    const status = statusOf(running);
    expect(condition(status, 'ContainersReady')?.status).toBe('True');
    expect(condition(status, 'Ready')).toMatchObject({ status: 'False', reason: 'ReadinessGatesNotReady' });
  });

  test('follows when the guest runs, and leaves that condition to its writer', () => {
    const status = statusOf(running, gated([{ type: guestRunningCondition, status: 'True' }]));
    expect(condition(status, 'Ready')?.status).toBe('True');
    expect(condition(status, guestRunningCondition)).toBeUndefined();
  });

  test('keeps the time of its last change', () => {
    const lastTransitionTime = '2025-12-31T00:00:00Z';
    const status = statusOf(running, gated([{ type: 'Initialized', status: 'True', lastTransitionTime }]));
    expect(condition(status, 'Initialized')?.lastTransitionTime).toBe(lastTransitionTime);
    expect(condition(status, 'Ready')?.lastTransitionTime).toBe('2026-01-01T00:01:00Z');
  });
});

describe('whether something is to be written', () => {
  const patch = statusOf(running);
  const stored = {
    ...patch,
    containerStatuses: patch.containerStatuses?.map((status) => ({ ...status, lastState: {} })) ?? [],
    conditions: [
      { type: 'PodScheduled', status: 'True' as const },
      ...patch.conditions.map(({ reason, message, ...rest }) => ({
        ...rest,
        ...(reason && { reason }),
        ...(message && { message }),
      })),
    ],
  };
  test('not what the API server has, where empty texts are absent and others write too', () => {
    expect(isReported(stored, patch)).toBe(true);
  });
  test('everything, at first', () => expect(isReported(undefined, patch)).toBe(false));
  test('an end', () => expect(isReported(stored, statusOf(ended(0)))).toBe(false));
});

test('a pod that is not understood fails with the fields that it would need', () => {
  expect(rejectedStatusPatch(examplePod(), ['spec.initContainers', 'spec.hostNetwork'], now)).toMatchObject({
    phase: 'Failed',
    reason: 'UnsupportedPod',
    message: 'localnode does not support: spec.initContainers, spec.hostNetwork',
  });
});
