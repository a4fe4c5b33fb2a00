import type { Logger } from '../observability/logger.ts';
import type { QueueObserver } from '../observability/queue-metrics.ts';
import { isConflict } from './errors.ts';
import { WorkQueue } from './work-queue.ts';

export interface ReconcileResult {
  /** Come back after this time at the latest, in milliseconds. */
  requeueAfterMilliseconds?: number;
}

export interface ControllerOptions {
  readonly name: string;
  /** How many keys are worked on at once; 1 when absent. */
  readonly concurrency?: number;
  /** Brings one object to its wanted state. Throwing means: again, after a growing wait. */
  readonly reconcile: (key: string, signal: AbortSignal) => Promise<ReconcileResult>;
  readonly logger: Logger;
  readonly maxBackoffMilliseconds?: number;
  readonly observer?: QueueObserver;
}

/** Calls `reconcile` for every key that was enqueued, never twice at once for the same key. */
export class Controller implements AsyncDisposable {
  readonly #options: ControllerOptions;
  readonly #queue: WorkQueue;
  readonly #abort = new AbortController();
  #workers: Promise<void>[] = [];

  constructor(options: ControllerOptions) {
    this.#options = options;
    const { maxBackoffMilliseconds, observer } = options;
    this.#queue = new WorkQueue({
      ...(maxBackoffMilliseconds === undefined ? {} : { maxBackoffMilliseconds }),
      ...(observer === undefined ? {} : { observer }),
    });
  }

  /** Keys may be enqueued before `start`; they wait. */
  enqueue(key: string): void {
    this.#queue.add(key);
  }

  enqueueAfter(key: string, milliseconds: number): void {
    this.#queue.addAfter(key, milliseconds);
  }

  start(): void {
    if (this.#workers.length > 0) throw new Error(`controller ${this.#options.name} is already started`);
    this.#workers = Array.from({ length: this.#options.concurrency ?? 1 }, () => this.#work());
  }

  /** Takes nothing new, aborts the signal of what is under way, and waits for it to end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#queue.close();
    this.#abort.abort(new Error(`controller ${this.#options.name} stops`));
    await Promise.all(this.#workers);
  }

  async #work(): Promise<void> {
    for (let key = await this.#queue.take(); key !== undefined; key = await this.#queue.take()) {
      await this.#reconcileOnce(key);
      this.#queue.done(key);
    }
  }

  async #reconcileOnce(key: string): Promise<void> {
    const { name, reconcile, logger, observer } = this.#options;
    const { signal } = this.#abort;
    const begun = performance.now();
    try {
      const { requeueAfterMilliseconds } = await reconcile(key, signal);
      observer?.reconciled(
        requeueAfterMilliseconds === undefined ? 'success' : 'requeue_after',
        performance.now() - begun,
      );
      this.#queue.forget(key);
      if (requeueAfterMilliseconds !== undefined) this.#queue.addAfter(key, requeueAfterMilliseconds);
    } catch (error) {
      if (signal.aborted) return;
      observer?.reconciled('error', performance.now() - begun);
      const retryAfterMilliseconds = this.#queue.addAfterFailure(key);
      // A conflict only says that the object was read too early: the next round reads the newer one.
      const level = isConflict(error) ? 'debug' : 'error';
      logger[level]({ controller: name, key, err: error, retryAfterMilliseconds }, 'Reconcile failed');
    }
  }
}
