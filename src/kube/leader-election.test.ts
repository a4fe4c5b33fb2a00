import { pino } from 'pino';
import { expect, it, vi } from 'vitest';
import type { Lease } from './core-resources.ts';
import { LeaderElection } from './leader-election.ts';
import { LeaseServer } from './lease-server.testing.ts';

/** Waits that no stall of a busy machine exceeds. */
const patient = { leaseDurationMilliseconds: 60_000, renewDeadlineMilliseconds: 50_000 };
const hasty = { leaseDurationMilliseconds: 1_000, renewDeadlineMilliseconds: 200 };

function candidate(
  server: LeaseServer,
  identity: string,
  onLost: (error: Error) => void = () => {},
  durations: typeof patient = patient,
) {
  return new LeaderElection(server.client as never, {
    lease: { namespace: 'default', name: 'test' },
    identity,
    onLost,
    logger: pino({ level: 'silent' }),
    retryPeriodMilliseconds: 10,
    ...durations,
  });
}

it('makes one of two the leader, and the other its successor when the first gives up', async () => {
  const server = new LeaseServer();
  await using second = candidate(server, 'second');
  const first = candidate(server, 'first');
  await first.acquire();
  const successor = second.acquire();
  const writes = server.writes;
  await vi.waitFor(() => expect(server.writes).toBeGreaterThan(writes + 3));
  expect([first.isLeader(), second.isLeader()]).toEqual([true, false]);
  await first[Symbol.asyncDispose]();
  await successor;
  expect([first.isLeader(), second.isLeader()]).toEqual([false, true]);
  expect(server.lease?.spec).toMatchObject({ holderIdentity: 'second', leaseTransitions: 1 });
});

it('tells a leader that is cut off, and lets the standby in only after that', async () => {
  const server = new LeaseServer();
  const lost = Promise.withResolvers<Error>();
  await using first = candidate(server, 'first', lost.resolve, hasty);
  await first.acquire();
  server.isReachable = false;
  expect((await lost.promise).message).toContain('could not be renewed for 200 ms');
  expect(first.isLeader()).toBe(false);
  server.isReachable = true;
  await using second = candidate(server, 'second');
  await second.acquire();
  expect(server.lease?.spec?.holderIdentity).toBe('second');
});

it('goes on leading when the API server is away for less than the deadline', async () => {
  const server = new LeaseServer();
  let isLost = false;
  await using first = candidate(server, 'first', () => {
    isLost = true;
  });
  await first.acquire();
  server.isReachable = false;
  const reads = vi.spyOn(server.client, 'get');
  await vi.waitFor(() => expect(reads.mock.calls.length).toBeGreaterThan(1));
  server.isReachable = true;
  const { writes } = server;
  await vi.waitFor(() => expect(server.writes).toBeGreaterThan(writes));
  expect([isLost, first.isLeader()]).toEqual([false, true]);
});

it('tells a leader whose lease somebody else took', async () => {
  const server = new LeaseServer();
  const lost = Promise.withResolvers<Error>();
  await using first = candidate(server, 'first', lost.resolve);
  await first.acquire();
  const { metadata, ...rest } = structuredClone(server.lease as Lease);
  server.lease = {
    ...rest,
    metadata: { ...metadata, resourceVersion: 'changed' },
    spec: { ...rest.spec, holderIdentity: 'usurper' },
  };
  expect((await lost.promise).message).toContain('usurper holds the lease');
});

it('stops waiting for leadership when asked to', async () => {
  const server = new LeaseServer();
  await using first = candidate(server, 'first');
  await first.acquire();
  await using second = candidate(server, 'second');
  const abort = new AbortController();
  const waiting = expect(second.acquire(abort.signal)).rejects.toThrow('never mind');
  abort.abort(new Error('never mind'));
  await waiting;
});

it('refuses periods that would let two lead', () => {
  const options = { lease: { namespace: 'a', name: 'b' }, identity: 'x', onLost: () => {}, logger: pino() };
  expect(() => new LeaderElection({} as never, { ...options, renewDeadlineMilliseconds: 15_000 })).toThrow(
    'retry period < renew deadline < lease duration',
  );
});
