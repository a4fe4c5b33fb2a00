import { readdirSync, readlinkSync } from 'node:fs';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { KubeClient } from '../../../src/kube/client.ts';
import { type Lease, leases } from '../../../src/kube/core-resources.ts';
import { isExpired } from '../../../src/kube/errors.ts';
import { Informer } from '../../../src/kube/informer.ts';
import { KubeTransport, loadKubeConfig } from '../../../src/kube/transport.ts';
import { type Cluster, startCluster } from '../../cluster/cluster.ts';
import { TcpProxy } from './tcp-proxy.ts';

let cluster: Cluster;
/** Writes past the proxy. */
let writer: KubeClient;
let namespace: string;
let count = 0;

beforeAll(async () => {
  cluster = await startCluster();
  writer = new KubeClient(new KubeTransport(loadKubeConfig(cluster.adminKubeconfig)));
});
afterAll(async () => {
  await writer?.transport.close();
  await cluster?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  namespace = `informer-${++count}`;
  await cluster.kubectl('create', 'namespace', namespace);
});

const draft = (name: string) => ({
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: { namespace, name },
  spec: { leaseTransitions: 0 },
});
const create = (name: string) => writer.create(leases, draft(name));
const remove = (name: string) => writer.delete(leases, { namespace, name });
const touch = (name: string, leaseTransitions: number) =>
  writer.mergePatch(leases, { namespace, name }, { spec: { leaseTransitions } });

/** An informer behind a proxy. `replayed` is what somebody believes who only hears of changes. */
async function follow() {
  const proxy = new TcpProxy(cluster.server);
  const config = { ...loadKubeConfig(cluster.adminKubeconfig), server: await proxy.listen() };
  const transport = new KubeTransport(config, { requestTimeoutMilliseconds: 5_000 });
  const errors: { code?: string; relist?: boolean }[] = [];
  const write = (line: string) => {
    const { err, relist } = JSON.parse(line);
    errors.push({ code: err?.code, relist });
  };
  const informer = new Informer(new KubeClient(transport), leases, { namespace, logger: pino({}, { write }) });
  const replayed = new Map<string, Lease>();
  const story: string[] = [];
  const contradictions: string[] = [];
  informer.onChange((key, current, previous) => {
    if (replayed.get(key)?.metadata.uid !== previous?.metadata.uid) contradictions.push(key);
    if (current) replayed.set(key, current);
    else replayed.delete(key);
    const name = key.replace(`${namespace}/`, '');
    story.push(current ? (previous ? `${name} changed` : `${name} added`) : `${name} deleted`);
  });
  informer.start();
  await informer.synced();
  return {
    proxy,
    informer,
    errors,
    story,
    /** Resolves when cache and replay both are what the API server has. */
    async agrees() {
      await vi.waitFor(
        async () => {
          const { items } = await writer.list(leases, { namespace });
          const truth = versions(items);
          expect(versions(informer.cache.list())).toEqual(truth);
          expect(versions([...replayed.values()])).toEqual(truth);
        },
        { timeout: 60_000, interval: 100 },
      );
      expect(contradictions).toEqual([]);
    },
    async [Symbol.asyncDispose]() {
      await informer[Symbol.asyncDispose]();
      await transport.close();
      await proxy[Symbol.asyncDispose]();
    },
  };
}

function versions(objects: Lease[]): string[] {
  return objects.map(({ metadata }) => `${metadata.name} ${metadata.uid} ${metadata.resourceVersion}`).sort();
}

/** Creates, changes, deletes and creates again, until it is stopped; a write that fails is left out. */
async function churn(signal: AbortSignal): Promise<void> {
  for (let round = 0; !signal.aborted; round++) {
    const name = `churn-${round % 7}`;
    const what = [() => create(name), () => touch(name, round), () => remove(name)][round % 3];
    await what?.().catch(() => undefined);
  }
}

it('tells of a deletion and of the new object of that name, also when both happened in a gap', async () => {
  await create('a');
  await using view = await follow();
  await remove('a');
  await create('a');
  await view.agrees();
  view.proxy.close();
  await remove('a');
  await create('a');
  view.proxy.open();
  await view.agrees();
  const once = ['a deleted', 'a added'];
  expect(view.story).toEqual(['a added', ...once, ...once]);
});

it('misses nothing while its connection is cut again and again', async () => {
  await using view = await follow();
  const stop = new AbortController();
  const churning = churn(stop.signal);
  for (let cuts = 0; cuts < 10; cuts++) {
    const { accepted } = view.proxy;
    view.proxy.cut();
    await vi.waitFor(() => expect(view.proxy.accepted).toBeGreaterThan(accepted), { timeout: 30_000 });
  }
  stop.abort();
  await churning;
  await view.agrees();
  expect(view.errors.every(({ relist }) => !relist)).toBe(true);
});

it('misses nothing over restarts of the API server', async () => {
  await using view = await follow();
  const stop = new AbortController();
  const churning = churn(stop.signal);
  for (let restarts = 0; restarts < 2; restarts++) await cluster.restartApiServer();
  stop.abort();
  await churning;
  await create('last');
  await view.agrees();
  expect(view.errors.length).toBeGreaterThan(1);
});

it('lists again when the server no longer remembers its version, and tells of what vanished meanwhile', async () => {
  await Promise.all(['gone', 'changed', 'replaced', 'same'].map(create));
  await using view = await follow();
  view.proxy.close();
  view.story.length = 0;
  await Promise.all([remove('gone'), touch('changed', 1), remove('replaced')]);
  await Promise.all([create('replaced'), create('new')]);
  // A new API server remembers only what happens from its start on.
  await cluster.restartApiServer();
  view.proxy.open();
  await view.agrees();
  expect(view.errors).toContainEqual({ code: 'Expired', relist: true });
  expect(view.story.toSorted()).toEqual([
    'changed changed',
    'gone deleted',
    'new added',
    'replaced added',
    'replaced deleted',
  ]);
});

it('is told by a real server that a version is too old', async () => {
  const watch = writer.watch(leases, { resourceVersion: '1' });
  const error = await watch.next().catch((reason: unknown) => reason);
  expect(isExpired(error)).toBe(true);
});

it('lists more than a page', async () => {
  const names = Array.from({ length: 520 }, (_, index) => `many-${index}`);
  await Promise.all(names.map(create));
  await using view = await follow();
  expect(view.informer.cache.list()).toHaveLength(520);
});

it('leaves no socket behind, and uses two while it runs', async () => {
  await using view = await follow();
  await view.agrees();
  const sockets = openSockets();
  for (let cuts = 0; cuts < 5; cuts++) {
    const { accepted } = view.proxy;
    view.proxy.cut();
    await vi.waitFor(() => expect(view.proxy.accepted).toBeGreaterThan(accepted), { timeout: 30_000 });
  }
  await view.agrees();
  expect(view.proxy.connections).toBeLessThanOrEqual(2);
  expect(openSockets()).toBeLessThanOrEqual(sockets);
  await view[Symbol.asyncDispose]();
  await vi.waitFor(() => expect(view.proxy.connections).toBe(0));
  // The listener, the connection for lists and the watch; the latter two at both ends, and the proxy's own to the server.
  await vi.waitFor(() => expect(openSockets()).toBeLessThan(sockets));
});

function openSockets(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:');
    } catch {
      return false; // closed since the folder was read
    }
  }).length;
}
