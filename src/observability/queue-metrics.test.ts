import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { Controller } from '../kube/controller.ts';
import { createLogger } from './logger.ts';
import { createQueueMetrics } from './queue-metrics.ts';

test('a queue and its reconciler are told of under the names of controller-runtime', async () => {
  const registry = new Registry();
  const observerOf = createQueueMetrics(registry);
  const held = Promise.withResolvers<void>();
  const failed = Promise.withResolvers<void>();
  let failures = 0;
  await using controller = new Controller({
    name: 'vm',
    concurrency: 2,
    logger: createLogger({ name: 'test' }).child({}, { level: 'silent' }),
    observer: observerOf('vm'),
    reconcile: async (key) => {
      if (key === 'held') await held.promise;
      if (key === 'fails' && failures++ === 0) throw new Error('once');
      if (key === 'fails') failed.resolve();
      return key === 'later' ? { requeueAfterMilliseconds: 60_000 } : {};
    },
  });
  for (const key of ['held', 'fails', 'later', 'good']) controller.enqueue(key);
  const value = async (sample: string) =>
    Number(
      (await registry.metrics())
        .split('\n')
        .find((line) => line.startsWith(`${sample} `))
        ?.split(' ')
        .at(-1),
    );
  expect(await value('workqueue_depth{name="vm"}')).toBe(4);
  controller.start();
  await failed.promise;
  await expect.poll(() => value('controller_runtime_reconcile_total{controller="vm",result="success"}')).toBe(2);
  expect(await value('workqueue_depth{name="vm"}')).toBe(0);
  expect(await value('workqueue_adds_total{name="vm"}')).toBe(5);
  expect(await value('workqueue_retries_total{name="vm"}')).toBe(1);
  expect(await value('controller_runtime_reconcile_errors_total{controller="vm"}')).toBe(1);
  expect(await value('controller_runtime_reconcile_total{controller="vm",result="requeue_after"}')).toBe(1);
  expect(await value('workqueue_unfinished_work_seconds{name="vm"}')).toBeGreaterThan(0);
  expect(await value('workqueue_longest_running_processor_seconds{name="vm"}')).toBeGreaterThan(0);
  held.resolve();
  await expect.poll(() => value('workqueue_work_duration_seconds_count{name="vm"}')).toBe(5);
  expect(await value('workqueue_unfinished_work_seconds{name="vm"}')).toBe(0);
});
