import type { ObservedQueue, QueueObserver } from '../observability/queue-metrics.ts';

/** Milliseconds of the wait after the first failure; it doubles with each further one. */
const firstBackoffMilliseconds = 5;
/** What the cap is unless told: about 17 minutes, as in client-go. */
const defaultMaxBackoffMilliseconds = 1_000_000;
/** Node's timers overflow beyond this. */
const longestTimerMilliseconds = 2 ** 31 - 1;

/**
 * A queue of keys for workers that bring one object each to its wanted state. A key waits at most once and is worked on by at
 * most one worker; added while it is worked on, it comes again afterwards. Per key it counts failures for the exponential backoff.
 */
export class WorkQueue implements ObservedQueue {
  readonly #maxBackoff: number;
  readonly #observer: QueueObserver | undefined;
  /** Since when each does, by `performance.now()`. */
  readonly #waiting = new Map<string, number>();
  readonly #processing = new Map<string, number>();
  /** Added again while being worked on. */
  readonly #dirty = new Set<string>();
  readonly #delayed = new Map<string, { at: number; timer: NodeJS.Timeout }>();
  readonly #failures = new Map<string, number>();
  readonly #takers: ((key: string | undefined) => void)[] = [];
  #closed = false;

  constructor(options: { maxBackoffMilliseconds?: number; observer?: QueueObserver } = {}) {
    this.#maxBackoff = options.maxBackoffMilliseconds ?? defaultMaxBackoffMilliseconds;
    this.#observer = options.observer;
    this.#observer?.observe(this);
  }

  /** How many keys wait for a worker now; delayed ones are not among them. */
  get length(): number {
    return this.#waiting.size;
  }

  get workedOnSince(): Iterable<number> {
    return this.#processing.values();
  }

  add(key: string): void {
    if (this.#closed) return;
    if (this.#processing.has(key)) {
      this.#dirty.add(key);
      return;
    }
    if (this.#waiting.has(key)) return;
    this.#observer?.added();
    this.#waiting.set(key, performance.now());
    const taker = this.#takers.shift();
    if (taker) {
      this.#begin(key);
      taker(key);
    }
  }

  #begin(key: string): void {
    const now = performance.now();
    this.#observer?.taken(now - (this.#waiting.get(key) ?? now));
    this.#waiting.delete(key);
    this.#processing.set(key, now);
  }

  /** Adds the key after a while. Of several waits for one key the earliest counts; adding it meanwhile does not end the wait. */
  addAfter(key: string, milliseconds: number): void {
    if (this.#closed) return;
    if (milliseconds <= 0) {
      this.add(key);
      return;
    }
    const wait = Math.min(milliseconds, longestTimerMilliseconds);
    const at = performance.now() + wait;
    const pending = this.#delayed.get(key);
    if (pending && pending.at <= at) return;
    clearTimeout(pending?.timer);
    const timer = setTimeout(() => {
      this.#delayed.delete(key);
      this.add(key);
    }, wait);
    this.#delayed.set(key, { at, timer });
  }

  /** Adds the key after its backoff, which doubles with every call until `forget`. Returns the wait in milliseconds. */
  addAfterFailure(key: string): number {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    const wait = Math.min(firstBackoffMilliseconds * 2 ** failures, this.#maxBackoff);
    this.#observer?.retried();
    this.addAfter(key, wait);
    return wait;
  }

  /** Ends the key's series of failures. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** The next key, as soon as there is one; undefined once the queue is closed. Every key taken must be handed to `done`. */
  take(): Promise<string | undefined> {
    if (this.#closed) return Promise.resolve(undefined);
    for (const key of this.#waiting.keys()) {
      this.#begin(key);
      return Promise.resolve(key);
    }
    return new Promise((resolve) => this.#takers.push(resolve));
  }

  done(key: string): void {
    this.#processing.delete(key);
    if (this.#dirty.delete(key)) this.add(key);
  }

  /** Forgets everything that waits and tells the workers to end. What is being worked on is theirs to finish. */
  close(): void {
    this.#closed = true;
    for (const { timer } of this.#delayed.values()) clearTimeout(timer);
    this.#delayed.clear();
    this.#waiting.clear();
    this.#dirty.clear();
    for (const taker of this.#takers.splice(0)) taker(undefined);
  }
}
