import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../observability/logger.ts';
import { Backoff } from './backoff.ts';
import { type Cache, IndexedCache, type IndexFunction } from './cache.ts';
import type { KubeClient, Selection } from './client.ts';
import { ApiError, isExpired } from './errors.ts';
import { compareResourceVersions, type KubeObject, objectKey, type Resource } from './resource.ts';

export interface InformerOptions<T extends KubeObject> extends Selection {
  readonly indexes?: Record<string, IndexFunction<T>>;
  readonly logger?: Logger;
}

/** `current` is absent when the object is gone, `previous` when it is new. */
export type ChangeHandler<T> = (key: string, current: T | undefined, previous: T | undefined) => void;

/** A watch ends after a random time between these, so that many of them do not come back at once. */
const watchSeconds = { shortest: 290, spread: 300 };
/** A watch cannot show that the server's history was replaced (a restored backup): list again now and then all the same. */
const relistMilliseconds = 30 * 60_000;
/** No answer, or too busy to give one: what is in the cache is still right, and the watch goes on from there. */
const resumable: ReadonlySet<number> = new Set([0, 429, 503]);
/** What a connection must have lasted to count as healthy even if nothing came over it. */
const healthyMilliseconds = 5_000;

/**
 * Keeps a copy of the objects of one resource, and tells about every change: a paged list, then a watch from there. Whatever goes
 * wrong, it goes on: a cut connection by watching from the last version it knows, anything else by a new list, compared with the
 * copy so that what vanished meanwhile is reported too. Between two lists an object may have changed more than once: a handler sees
 * each object's latest state, not every step. A deletion followed by a new object of that name is always reported as both.
 */
export class Informer<T extends KubeObject> implements AsyncDisposable {
  readonly #client: KubeClient;
  readonly #resource: Resource<T>;
  readonly #options: InformerOptions<T>;
  readonly #cache: IndexedCache<T>;
  readonly #handlers: ChangeHandler<T>[] = [];
  readonly #stop = new AbortController();
  readonly #synced = Promise.withResolvers<void>();
  readonly #backoff = new Backoff({ firstMilliseconds: 100, maxMilliseconds: 3_000 });
  /** Everything up to here is in the cache; undefined: a list is due. */
  #position: string | undefined;
  #listedAt = 0;
  #lastWatchWasHealthy = false;
  #running: Promise<void> | undefined;

  constructor(client: KubeClient, resource: Resource<T>, options: InformerOptions<T> = {}) {
    this.#client = client;
    this.#resource = resource;
    this.#options = options;
    this.#cache = new IndexedCache(options.indexes);
    this.#synced.promise.catch(() => undefined);
  }

  get cache(): Cache<T> {
    return this.#cache;
  }

  /**
   * To be registered before `start`: what was reported is not repeated. Handlers are called at once, in the order of the changes; one
   * that throws is logged and disturbs nobody.
   */
  onChange(handler: ChangeHandler<T>): void {
    this.#handlers.push(handler);
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Resolves when the first list is in the cache, and rejects when the informer is stopped before or the signal aborts. */
  async synced(signal?: AbortSignal): Promise<void> {
    if (!signal) return this.#synced.promise;
    signal.throwIfAborted();
    const aborted = Promise.withResolvers<never>();
    const onAbort = () => aborted.reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await Promise.race([this.#synced.promise, aborted.promise]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /**
   * Takes over what a write returned, so that the next read sees it although the watch has not delivered it yet. The object must be
   * one of this informer's selection. An older or already deleted one is ignored.
   */
  observe(object: T): void {
    const isCached = this.#cache.get(objectKey(object)) !== undefined;
    // What is not in the cache and not newer than what the watch has delivered was deleted since.
    if (isCached || compareResourceVersions(version(object), this.#position ?? '') > 0) this.#put(object);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const reason = new Error(`the informer of ${this.#resource.plural} was stopped`);
    this.#stop.abort(reason);
    this.#synced.reject(reason);
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      let wait: number;
      try {
        wait = await this.#listAndWatch();
      } catch (error) {
        if (signal.aborted) return;
        wait = this.#recover(error);
      }
      if (wait > 0) await delay(wait, undefined, { signal }).catch(() => undefined);
    }
  }

  /** One list, if one is due, and one watch. Returns the wait before the next in milliseconds. */
  async #listAndWatch(): Promise<number> {
    if (this.#position === undefined || performance.now() - this.#listedAt > relistMilliseconds) await this.#list();
    const startedAt = performance.now();
    try {
      await this.#watch(this.#position ?? '');
    } finally {
      this.#lastWatchWasHealthy = performance.now() - startedAt > healthyMilliseconds;
      if (this.#lastWatchWasHealthy) this.#backoff.reset();
    }
    return this.#lastWatchWasHealthy ? 0 : this.#backoff.next();
  }

  async #list(): Promise<void> {
    const selection = { ...selectionOf(this.#options), signal: this.#stop.signal };
    const { items, resourceVersion } = await this.#client.list(this.#resource, selection);
    this.#listedAt = performance.now();
    const listed = new Set(items.map(objectKey));
    for (const object of this.#cache.list()) {
      const key = objectKey(object);
      // A newer one was observed while the list was under way.
      if (!listed.has(key) && compareResourceVersions(version(object), resourceVersion) <= 0) this.#remove(key, object);
    }
    for (const item of items) this.#put(item);
    this.#position = resourceVersion;
    this.#backoff.reset();
    this.#synced.resolve();
  }

  async #watch(resourceVersion: string): Promise<void> {
    const watch = this.#client.watch(this.#resource, {
      ...selectionOf(this.#options),
      resourceVersion,
      timeoutSeconds: Math.round(watchSeconds.shortest + Math.random() * watchSeconds.spread),
      signal: this.#stop.signal,
    });
    for await (const event of watch) {
      this.#backoff.reset();
      this.#position = event.type === 'BOOKMARK' ? event.resourceVersion : version(event.object);
      if (event.type === 'DELETED') this.#take(event.object);
      else if (event.type !== 'BOOKMARK') this.#put(event.object);
    }
  }

  /** Decides how to go on after an error. Returns the wait before that in milliseconds. */
  #recover(error: unknown): number {
    const { plural } = this.#resource;
    const mayResume = error instanceof ApiError && resumable.has(error.status);
    if (!mayResume) this.#position = undefined;
    const wait = this.#lastWatchWasHealthy ? 0 : this.#backoff.next();
    this.#lastWatchWasHealthy = false;
    const retryAfter = error instanceof ApiError ? (error.retryAfterSeconds ?? 0) * 1000 : 0;
    const waitMilliseconds = Math.max(wait, retryAfter);
    const level = isExpired(error) ? 'info' : 'warn';
    this.#options.logger?.[level](
      { resource: plural, err: error, waitMilliseconds, relist: !mayResume },
      'Lost a watch',
    );
    return waitMilliseconds;
  }

  /** Puts an object in the cache unless the cache has a newer one. */
  #put(object: T): void {
    const key = objectKey(object);
    const previous = this.#cache.get(key);
    if (previous && compareResourceVersions(version(previous), version(object)) >= 0) return;
    if (previous && previous.metadata.uid !== object.metadata.uid) {
      this.#remove(key, previous);
      this.#cache.set(object);
      this.#notify(key, object, undefined);
      return;
    }
    this.#cache.set(object);
    this.#notify(key, object, previous);
  }

  /** The object was deleted, or left the selection; it comes in its last state. */
  #take(last: T): void {
    const key = objectKey(last);
    const cached = this.#cache.get(key);
    if (cached && compareResourceVersions(version(cached), version(last)) <= 0) this.#remove(key, last);
  }

  #remove(key: string, last: T): void {
    this.#cache.delete(key);
    this.#notify(key, undefined, last);
  }

  #notify(key: string, current: T | undefined, previous: T | undefined): void {
    for (const handler of this.#handlers) {
      try {
        handler(key, current, previous);
      } catch (error) {
        this.#options.logger?.error({ resource: this.#resource.plural, key, err: error }, 'Change handler failed');
      }
    }
  }
}

function version(object: KubeObject): string {
  return object.metadata.resourceVersion ?? '';
}

function selectionOf({ namespace, labelSelector, fieldSelector }: Selection): Selection {
  return {
    ...(namespace && { namespace }),
    ...(labelSelector && { labelSelector }),
    ...(fieldSelector && { fieldSelector }),
  };
}
