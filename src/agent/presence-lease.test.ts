import { pino } from 'pino';
import { expect, test, vi } from 'vitest';
import type { Lease } from '../kube/core-resources.ts';
import { LeaseServer } from '../kube/lease-server.testing.ts';
import { PresenceLease } from './presence-lease.ts';

function presence(server: LeaseServer, identity: string, log: string[] = []): PresenceLease {
  const write = (line: string) => log.push(JSON.parse(line).msg);
  return new PresenceLease({
    client: server.client as never,
    namespace: 'vmferry-system',
    nodeName: 'node-a',
    identity,
    logger: pino({ level: 'info' }, { write }),
    renewMilliseconds: 5,
    retryMilliseconds: 5,
  });
}

const renewals = (server: LeaseServer, count: number) => {
  const { writes } = server;
  return vi.waitFor(() => expect(server.writes).toBeGreaterThanOrEqual(writes + count));
};

test('an agent creates the lease of its node, and renews it', async () => {
  const server = new LeaseServer();
  await using _ = presence(server, 'host_1');
  await renewals(server, 1);
  const first = structuredClone(server.lease as Lease);
  expect(first.metadata).toMatchObject({
    namespace: 'vmferry-system',
    name: 'agent.node-a',
    labels: { 'vmferry.io/component': 'agent' },
  });
  expect(first.spec).toMatchObject({ holderIdentity: 'host_1', leaseDurationSeconds: 30 });
  await renewals(server, 2);
  expect(server.lease?.spec?.renewTime).not.toBe(first.spec?.renewTime);
  expect(server.lease?.spec?.acquireTime).toBe(first.spec?.acquireTime);
});

test('the latest of two takes the lease over without waiting, and keeps what others have put on it', async () => {
  const server = new LeaseServer();
  const first = presence(server, 'host_1');
  await renewals(server, 1);
  await first[Symbol.asyncDispose]();
  if (server.lease) server.lease.metadata.labels = { ...server.lease.metadata.labels, theirs: 'kept' };
  await using _ = presence(server, 'host_2');
  await vi.waitFor(() => expect(server.lease?.spec?.holderIdentity).toBe('host_2'));
  expect(server.lease?.metadata.labels).toEqual({ 'vmferry.io/component': 'agent', theirs: 'kept' });
});

test('an outage makes it late, and is told once', async () => {
  const server = new LeaseServer();
  const log: string[] = [];
  await using _ = presence(server, 'host_1', log);
  await renewals(server, 1);
  server.isReachable = false;
  const reads = vi.spyOn(server.client, 'get');
  await vi.waitFor(() => expect(reads.mock.calls.length).toBeGreaterThan(2));
  server.isReachable = true;
  await renewals(server, 1);
  expect(log).toEqual(["The agent's lease could not be renewed", "The agent's lease is renewed again"]);
});

test('a lease that somebody else has changed is read again', async () => {
  const server = new LeaseServer();
  const log: string[] = [];
  await using _ = presence(server, 'host_1', log);
  await renewals(server, 1);
  if (server.lease) server.lease.metadata.resourceVersion = 'changed';
  await renewals(server, 1);
  expect(log).toEqual([]);
});

test('its end does not wait for an answer, and leaves the lease as it is', async () => {
  const server = new LeaseServer();
  const lease = presence(server, 'host_1');
  await renewals(server, 1);
  vi.spyOn(server.client, 'replace').mockImplementation(
    ((_: unknown, __: unknown, { signal }: { signal: AbortSignal }) =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))) as never,
  );
  await vi.waitFor(() => expect(server.client.replace).toHaveBeenCalled());
  await lease[Symbol.asyncDispose]();
  expect(server.lease?.spec?.holderIdentity).toBe('host_1');
});
