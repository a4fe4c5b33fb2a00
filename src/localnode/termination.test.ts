import { expect, test } from 'vitest';
import { examplePod } from './pod.testing.ts';
import { terminationSchedule } from './termination.ts';

const deletionTimestamp = '2026-01-01T00:01:00Z';
const deadline = Date.parse(deletionTimestamp);

function schedule(deletionGracePeriodSeconds: number, preStopSeconds?: number) {
  const pod = examplePod(
    preStopSeconds === undefined
      ? {}
      : { lifecycle: { preStop: { exec: { command: ['sleep', String(preStopSeconds)] } } } },
  );
  const metadata = { ...pod.metadata, deletionTimestamp, deletionGracePeriodSeconds };
  const { signalAt, killAt } = terminationSchedule({ ...pod, metadata });
  return [signalAt - deadline, killAt - deadline];
}

test.each([
  ['without a hook the process is asked at once, and killed after the grace', 30, undefined, [-30_000, 0]],
  ['the sleep comes first, and is never cut short by the rounding of times', 35, 30, [-4000, 0]],
  ['a sleep as long as the grace leaves two seconds', 30, 30, [1000, 3000]],
  ['a shorter grace shortens the sleep', 5, 30, [1000, 3000]],
  ['no grace at all leaves two seconds', 0, 30, [0, 2000]],
])('%s', (_scenario, grace, preStop, expected) => {
  expect(schedule(grace, preStop)).toEqual(expected);
});
