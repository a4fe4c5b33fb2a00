import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { KubeClient } from '../../../src/kube/client.ts';
import { events, leases } from '../../../src/kube/core-resources.ts';
import { isAlreadyExists, isConflict, isInvalid, isNotFound } from '../../../src/kube/errors.ts';
import { EventRecorder } from '../../../src/kube/events.ts';
import { LeaderElection } from '../../../src/kube/leader-election.ts';
import { KubeTransport, loadKubeConfig } from '../../../src/kube/transport.ts';
import { type Cluster, startCluster } from '../../cluster/cluster.ts';
import { TcpProxy } from './tcp-proxy.ts';

let cluster: Cluster;
let client: KubeClient;

beforeAll(async () => {
  cluster = await startCluster();
  client = new KubeClient(new KubeTransport(loadKubeConfig(cluster.adminKubeconfig), { userAgent: 'kube-test/1' }));
});
afterAll(async () => {
  await client?.transport.close();
  await cluster?.[Symbol.asyncDispose]();
});

const namespace = 'default';
const createLease = (name: string) =>
  client.create(leases, {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { namespace, name },
    spec: { holderIdentity: 'a' },
  });
const failure = (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('a real API server', () => {
  it('refuses a replacement of what changed since it was read', async () => {
    const lease = await createLease('swapped');
    await client.replace(leases, { ...lease, spec: { holderIdentity: 'b' } });
    const late = client.replace(leases, { ...lease, spec: { holderIdentity: 'c' } });
    expect(isConflict(await failure(late))).toBe(true);
    expect((await client.get(leases, { namespace, name: 'swapped' })).spec?.holderIdentity).toBe('b');
  });

  it('carries out a JSON patch whole or not at all', async () => {
    await createLease('patched');
    const ref = { namespace, name: 'patched' };
    const swap = (from: string, to: string) =>
      client.jsonPatch(leases, ref, [
        { op: 'add', path: '/metadata/labels', value: { patched: 'true' } },
        { op: 'test', path: '/spec/holderIdentity', value: from },
        { op: 'replace', path: '/spec/holderIdentity', value: to },
      ]);
    expect(isInvalid(await failure(swap('x', 'b')))).toBe(true);
    expect((await client.get(leases, ref)).metadata.labels).toBeUndefined();
    expect((await swap('a', 'b')).spec?.holderIdentity).toBe('b');
  });

  it('compares the resourceVersion of a merge patch', async () => {
    const { metadata } = await createLease('merged');
    const ref = { namespace, name: 'merged' };
    const merge = (identity: object) =>
      client.mergePatch(leases, ref, { metadata: identity, spec: { holderIdentity: 'b' } });
    expect(isConflict(await failure(merge({ resourceVersion: '1' })))).toBe(true);
    await merge({ resourceVersion: metadata.resourceVersion });
  });

  it('deletes an object only if it is the one that is meant', async () => {
    const { metadata } = await createLease('deleted');
    const ref = { namespace, name: 'deleted' };
    expect(isConflict(await failure(client.delete(leases, ref, { uid: randomUUID() })))).toBe(true);
    expect(isConflict(await failure(client.delete(leases, ref, { resourceVersion: '1' })))).toBe(true);
    await client.delete(leases, ref, { uid: metadata.uid ?? '', resourceVersion: metadata.resourceVersion ?? '' });
    expect(isNotFound(await failure(client.delete(leases, ref)))).toBe(true);
  });

  it('creates an object once', async () => {
    const created = await createLease('created');
    expect(created).toMatchObject({ apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' });
    expect(created.metadata).not.toHaveProperty('managedFields');
    expect(isAlreadyExists(await failure(createLease('created')))).toBe(true);
    const written = await cluster.kubectl('get', 'lease', 'created', '--show-managed-fields', '-o', 'json');
    expect(JSON.parse(written).metadata.managedFields[0].manager).toBe('kube-test');
  });

  it('accepts a token from a file', async () => {
    const file = path.join(cluster.directory, 'token');
    writeFileSync(file, await cluster.kubectl('create', 'token', 'default'));
    const { clientCertificate: _, clientKey: __, ...config } = loadKubeConfig(cluster.adminKubeconfig);
    await using transport = new KubeTransport({ ...config, token: { file } });
    // Known, but allowed nothing: who gives no token at all is told Unauthorized.
    await expect(new KubeClient(transport).list(leases)).rejects.toMatchObject({
      code: 'Forbidden',
      message: expect.stringContaining('system:serviceaccount:default:default'),
    });
  });
});

it('elects one leader, and another when the first is cut off', async () => {
  const proxy = new TcpProxy(cluster.server);
  await using _ = proxy;
  const config = { ...loadKubeConfig(cluster.adminKubeconfig), server: await proxy.listen() };
  await using transport = new KubeTransport(config);
  const lost = Promise.withResolvers<Error>();
  const options = {
    lease: { namespace, name: 'leader' },
    logger: pino({ level: 'silent' }),
    leaseDurationMilliseconds: 4_000,
    renewDeadlineMilliseconds: 3_000,
    retryPeriodMilliseconds: 200,
  };
  const first = new LeaderElection(new KubeClient(transport), { ...options, identity: 'first', onLost: lost.resolve });
  await using second = new LeaderElection(client, { ...options, identity: 'second', onLost: () => {} });
  await first.acquire();
  let isFirstLost = false;
  const handover = second.acquire().then(() => isFirstLost);
  proxy.close();
  expect((await lost.promise).message).toContain('could not be renewed');
  isFirstLost = true;
  expect(await handover).toBe(true);
  const lease = await client.get(leases, { namespace, name: 'leader' });
  expect(lease.spec).toMatchObject({ holderIdentity: 'second', leaseTransitions: 1 });
  await first[Symbol.asyncDispose]();
});

it('records events that kubectl shows, counted', async () => {
  const lease = await createLease('eventful');
  await using recorder = new EventRecorder(client, {
    reportingController: 'vmferry.io/test',
    reportingInstance: 'here',
  });
  const note = `${'ü'.repeat(600)} is cut`;
  for (let count = 0; count < 3; count++) {
    recorder.event(lease, 'Warning', 'Waiting', note);
    await recorder.flush();
  }
  recorder.event(lease, 'Normal', 'Done', 'It is done.', { related: lease, action: 'Finish' });
  await recorder.flush();
  const { items } = await client.list(events, { namespace });
  const ours = items.filter(({ regarding }) => regarding.name === 'eventful');
  expect(ours.map(({ reason, series }) => [reason, series?.count]).toSorted()).toEqual([
    ['Done', undefined],
    ['Waiting', 3],
  ]);
  await vi.waitFor(async () => {
    const shown = await cluster.kubectl('get', 'events', '--field-selector', 'involvedObject.name=eventful');
    expect(shown).toMatch(/Normal\s+Done\s+lease\/eventful\s+It is done\./);
  });
});
