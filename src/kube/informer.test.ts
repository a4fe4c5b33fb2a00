import { pino } from 'pino';
import { expect, it, vi } from 'vitest';
import type { WatchEvent, WatchOptions } from './client.ts';
import { type Pod, pods } from './core-resources.ts';
import { ApiError } from './errors.ts';
import { Informer } from './informer.ts';
import type { Resource } from './resource.ts';

function pod(name: string, resourceVersion: number, uid = `uid-of-${name}`): Pod {
  const metadata = { name, namespace: 'default', uid, resourceVersion: String(resourceVersion) };
  return { apiVersion: 'v1', kind: 'Pod', metadata, spec: { containers: [] } };
}

type Step = WatchEvent<Pod> | Error | 'end';

/** An API server that answers as the test says: lists in their order, and what a test pushes into the watch that is open. */
class ScriptedServer {
  readonly lists: (() => { items: Pod[]; resourceVersion: string })[] = [];
  readonly watchedFrom: string[] = [];
  #push: ((step: Step) => void) | undefined;
  #opened = Promise.withResolvers<void>();

  readonly client = {
    list: async () => {
      const next = this.lists.shift();
      if (!next) throw new ApiError(0, 'ConnectionFailed', 'nothing more in the script');
      return next();
    },
    watch: <T>(_: Resource<never>, options: WatchOptions) => this.#watch(options) as AsyncGenerator<WatchEvent<T>>,
  };

  answer(resourceVersion: number, ...items: Pod[]): void {
    this.lists.push(() => ({ items, resourceVersion: String(resourceVersion) }));
  }

  /** Waits until the informer watches, then sends. An error or `end` ends that watch. */
  async send(...steps: Step[]): Promise<void> {
    for (const step of steps) {
      await this.#opened.promise;
      this.#push?.(step);
    }
  }

  async *#watch({ resourceVersion, signal }: WatchOptions): AsyncGenerator<WatchEvent<Pod>> {
    this.watchedFrom.push(resourceVersion);
    const steps: Step[] = [];
    let wake = Promise.withResolvers<void>();
    signal?.addEventListener('abort', () => wake.resolve(), { once: true });
    this.#push = (step) => {
      steps.push(step);
      if (step === 'end' || step instanceof Error) this.#opened = Promise.withResolvers();
      wake.resolve();
    };
    this.#opened.resolve();
    for (;;) {
      await wake.promise;
      signal?.throwIfAborted();
      wake = Promise.withResolvers();
      for (const step of steps.splice(0)) {
        if (step === 'end') return;
        if (step instanceof Error) throw step;
        yield step;
      }
    }
  }
}

function follow(server: ScriptedServer) {
  const informer = new Informer<Pod>(server.client as never, pods, { logger: pino({ level: 'silent' }) });
  const changes: string[] = [];
  informer.onChange((key, current, previous) => {
    const versions = [previous, current].map((object) => object?.metadata.resourceVersion ?? '-');
    changes.push(`${key.replace('default/', '')}: ${versions.join(' to ')}`);
  });
  return { informer, changes };
}

const added = (object: Pod) => ({ type: 'ADDED', object }) as const;
const modified = (object: Pod) => ({ type: 'MODIFIED', object }) as const;
const deleted = (object: Pod) => ({ type: 'DELETED', object }) as const;
const gone = new ApiError(410, 'Expired', 'too old resource version');
const cut = new ApiError(0, 'ConnectionFailed', 'socket hang up');

it('reports what it lists and everything that changes', async () => {
  const server = new ScriptedServer();
  server.answer(10, pod('a', 5));
  const { informer, changes } = follow(server);
  await using _ = informer;
  informer.start();
  await informer.synced();
  await server.send(added(pod('b', 11)), modified(pod('a', 12)), deleted(pod('b', 13)));
  await vi.waitFor(() => expect(changes).toHaveLength(4));
  expect(changes).toEqual(['a: - to 5', 'b: - to 11', 'a: 5 to 12', 'b: 13 to -']);
  expect(server.watchedFrom).toEqual(['10']);
});

it('goes on from the last event or bookmark after a cut connection or an ended watch, without a new list', async () => {
  const server = new ScriptedServer();
  server.answer(10);
  const { informer } = follow(server);
  await using _ = informer;
  informer.start();
  await server.send(added(pod('a', 11)), cut);
  await server.send({ type: 'BOOKMARK', resourceVersion: '40' }, 'end');
  await server.send('end');
  await vi.waitFor(() => expect(server.watchedFrom).toEqual(['10', '11', '40', '40']));
});

it.each([
  ['an expired version', gone],
  ['a server error', new ApiError(500, 'InternalError', 'etcd is on fire')],
  ['a version the server has not reached', new ApiError(504, 'Timeout', 'Too large resource version')],
  ['a bug', new TypeError('undefined is not a function')],
])('lists again after %s, and reports what vanished, came and was replaced meanwhile', async (_name, error) => {
  const server = new ScriptedServer();
  server.answer(10, pod('same', 1), pod('vanished', 2), pod('replaced', 3, 'first'), pod('changed', 4));
  const { informer, changes } = follow(server);
  await using _ = informer;
  informer.start();
  await informer.synced();
  changes.length = 0;
  server.answer(30, pod('same', 1), pod('replaced', 23, 'second'), pod('changed', 24), pod('new', 25));
  await server.send(error);
  await vi.waitFor(() => expect(server.watchedFrom).toEqual(['10', '30']));
  expect(changes).toEqual([
    'vanished: 2 to -',
    'replaced: 3 to -',
    'replaced: - to 23',
    'changed: 4 to 24',
    'new: - to 25',
  ]);
});

it('keeps trying while lists fail, with its cache as it was', async () => {
  const server = new ScriptedServer();
  server.answer(10, pod('a', 5));
  const { informer } = follow(server);
  await using _ = informer;
  informer.start();
  await informer.synced();
  for (let failures = 0; failures < 3; failures++)
    server.lists.push(() => {
      throw new ApiError(503, 'ServiceUnavailable', 'starting');
    });
  server.answer(20, pod('a', 5));
  await server.send(gone);
  expect(informer.cache.list()).toHaveLength(1);
  await vi.waitFor(() => expect(server.watchedFrom).toEqual(['10', '20']), { timeout: 10_000 });
});

it('shows a write at once, ignores its echo, and never brings back what was deleted since', async () => {
  const server = new ScriptedServer();
  server.answer(10, pod('a', 5));
  const { informer, changes } = follow(server);
  await using _ = informer;
  informer.start();
  await informer.synced();
  changes.length = 0;
  informer.observe(pod('a', 11));
  informer.observe(pod('a', 8));
  expect(informer.cache.get('default/a')?.metadata.resourceVersion).toBe('11');
  informer.observe(pod('b', 12));
  await server.send(modified(pod('a', 11)), added(pod('b', 12)), deleted(pod('b', 13)), modified(pod('a', 14)));
  await vi.waitFor(() => expect(changes).toContain('a: 11 to 14'));
  informer.observe(pod('b', 12));
  expect(informer.cache.get('default/b')).toBeUndefined();
  expect(changes).toEqual(['a: 5 to 11', 'b: - to 12', 'b: 13 to -', 'a: 11 to 14']);
});

it('does not lose an observed object to a list or a deletion that is older', async () => {
  const server = new ScriptedServer();
  server.answer(10, pod('a', 5, 'first'));
  const { informer } = follow(server);
  await using _ = informer;
  informer.start();
  await informer.synced();
  // Deleted at 11 and created again at 12 by this process, before the watch has told of either.
  informer.observe(pod('a', 12, 'second'));
  server.answer(11);
  await server.send(deleted(pod('a', 11, 'first')), gone);
  await vi.waitFor(() => expect(server.watchedFrom).toEqual(['10', '11']));
  expect(informer.cache.get('default/a')?.metadata.uid).toBe('second');
});

it('calls the other handlers when one throws', async () => {
  const server = new ScriptedServer();
  server.answer(10, pod('a', 5));
  const informer = new Informer<Pod>(server.client as never, pods);
  await using _ = informer;
  informer.onChange(() => {
    throw new Error('a bug in a handler');
  });
  const seen: string[] = [];
  informer.onChange((key) => seen.push(key));
  informer.start();
  await informer.synced();
  expect(seen).toEqual(['default/a']);
});

it('stops when it is disposed of, and then rejects those who wait for its first list', async () => {
  const { informer } = follow(new ScriptedServer());
  informer.start();
  const waiting = expect(informer.synced()).rejects.toThrow('informer of pods was stopped');
  await informer[Symbol.asyncDispose]();
  await waiting;
});

it('lets a caller give up waiting for the first list', async () => {
  const { informer } = follow(new ScriptedServer());
  await using _ = informer;
  informer.start();
  const abort = new AbortController();
  const waiting = expect(informer.synced(abort.signal)).rejects.toThrow('enough');
  abort.abort(new Error('enough'));
  await waiting;
});
