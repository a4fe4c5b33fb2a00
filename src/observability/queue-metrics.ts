/** Work queues and reconcilers under the names that controller-runtime gave them, so that common dashboards and alerts fit. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** A queue, asked at each scrape. */
export interface ObservedQueue {
  /** How many keys wait. */
  readonly length: number;
  /** Since when each key that is worked on is, by `performance.now()`. */
  readonly workedOnSince: Iterable<number>;
}

/** Is told what the queue of one controller does. */
export interface QueueObserver {
  observe(queue: ObservedQueue): void;
  added(): void;
  retried(): void;
  taken(waitedMilliseconds: number): void;
  reconciled(result: 'success' | 'error' | 'requeue_after', tookMilliseconds: number): void;
}

/** From the time in which a cache is read to that of a slow API server, in seconds. */
const buckets = [0.001, 0.01, 0.1, 1, 10];

/** @returns what makes an observer for the controller of a name. */
export function createQueueMetrics(registry: Registry): (controller: string) => QueueObserver {
  const registers = [registry];
  const labelNames = ['name'] as const;
  const queues = new Map<string, ObservedQueue>();
  const gauge = (name: string, help: string, read: (queue: ObservedQueue) => number) =>
    new Gauge({
      name,
      help,
      registers,
      labelNames,
      collect() {
        for (const [name, queue] of queues) this.set({ name }, read(queue));
      },
    });
  gauge('workqueue_depth', 'How many keys wait in the queue.', (queue) => queue.length);
  gauge(
    'workqueue_unfinished_work_seconds',
    'For how long, in sum, keys have been worked on that are not done.',
    (queue) => runningSeconds(queue).reduce((sum, seconds) => sum + seconds, 0),
  );
  gauge('workqueue_longest_running_processor_seconds', 'For how long the oldest of them has been worked on.', (queue) =>
    Math.max(0, ...runningSeconds(queue)),
  );
  const counter = (name: string, help: string) => new Counter({ name, help, registers, labelNames });
  const adds = counter('workqueue_adds_total', 'How many keys were added.');
  const retries = counter('workqueue_retries_total', 'How many keys were added again after a failure.');
  const histogram = (name: string, help: string) => new Histogram({ name, help, registers, labelNames, buckets });
  const waits = histogram('workqueue_queue_duration_seconds', 'How long a key waits before it is worked on.');
  const works = histogram('workqueue_work_duration_seconds', 'How long a key is worked on.');
  const ofController = { registers, labelNames: ['controller', 'result'] as const };
  const results = new Counter({
    ...ofController,
    name: 'controller_runtime_reconcile_total',
    help: 'How many times something was reconciled, by result.',
  });
  const errors = new Counter({
    registers,
    labelNames: ['controller'] as const,
    name: 'controller_runtime_reconcile_errors_total',
    help: 'How many times reconciling failed.',
  });
  return (name) => ({
    observe: (queue) => queues.set(name, queue),
    added: () => adds.inc({ name }),
    retried: () => retries.inc({ name }),
    taken: (milliseconds) => waits.observe({ name }, milliseconds / 1000),
    reconciled(result, milliseconds) {
      works.observe({ name }, milliseconds / 1000);
      results.inc({ controller: name, result });
      errors.inc({ controller: name }, result === 'error' ? 1 : 0);
    },
  });
}

function runningSeconds({ workedOnSince }: ObservedQueue): number[] {
  const now = performance.now();
  return [...workedOnSince].map((since) => (now - since) / 1000);
}
