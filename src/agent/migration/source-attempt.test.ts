/** Whom the source's agent calls, and for how long: an agent that serves the attempt no longer would turn it away. */
import { expect, test, vi } from 'vitest';
import { TcpProxy } from '../../../test/integration/kube/tcp-proxy.ts';
import type { VirtualMachineMigration } from '../../api/objects.ts';
import type { AgentContext } from '../context.ts';
import { attempt, host, logger, migrationUID, startTarget } from '../handover/handover.test-support.ts';
import type { PingAnswer } from '../handover/messages.ts';
import type { HandoverHandle } from '../handover/server.ts';
import { SourceAttempt } from './source-attempt.ts';

type TargetSide = NonNullable<NonNullable<VirtualMachineMigration['status']>['target']>;

const patient = { timeout: 5_000, interval: 10 };
const keys = { stream: attempt.source, handover: attempt.source };

/** An attempt whose target's agent answers, and is called. */
async function underWay(resources: AsyncDisposableStack, answers: Partial<HandoverHandle> = {}) {
  const target = resources.use(await startTarget(answers));
  const proxy = resources.use(new TcpProxy(`https://${host}:${target.server.port}`));
  const port = Number(new URL(await proxy.listen()).port);
  const { certificate } = attempt.target;
  const side = {
    attempt: 1,
    podUID: 'target-pod',
    handover: { host, port },
    certificates: { stream: certificate, handover: certificate },
  };
  const migration = (word: Partial<TargetSide> = {}) =>
    ({
      metadata: { namespace: 'default', name: 'move', uid: migrationUID },
      spec: { virtualMachineName: 'web' },
      status: { attempt: 1, targetPod: { name: 'web-m-1', uid: 'target-pod' }, target: { ...side, ...word } },
    }) as VirtualMachineMigration;
  const context = { logger, transport: { lastAnswerAt: () => 0 } } as unknown as AgentContext;
  const wake = vi.fn();
  const work = resources.use(new SourceAttempt(context, migration(), { podUID: 'source-pod', attempt: 1, wake }));
  work.reachTarget(migration(), keys);
  await vi.waitFor(() => expect(work.handoverPath().direct).toBe('waiting'), patient);
  const isLeft = () => vi.waitFor(() => expect(proxy.connections).toBe(0), patient);
  return { work, migration, wake, proxy, isLeft, server: target.server };
}

test('a target that has taken over is called no more, and its agent turns nobody away', async () => {
  await using resources = new AsyncDisposableStack();
  const { work, migration, wake, proxy, isLeft, server } = await underWay(resources);
  await work.handOver(true);
  expect(work.heard).toBe('TookOver');
  expect(wake).toHaveBeenCalledOnce();
  await isLeft();
  const { accepted } = proxy;
  work.reachTarget(migration(), keys);
  await work.handOver(true);
  await work.askToRefuse({ reason: 'Cancelled', message: 'too late' });
  expect(proxy.accepted).toBe(accepted);
  expect(server.refused).toEqual({ Handshake: 0, UnknownName: 0, NotThePeer: 0, Malformed: 0 });
});

test('a word that came by the API server ends the calls as well', async () => {
  await using resources = new AsyncDisposableStack();
  const { work, migration, isLeft } = await underWay(resources);
  work.reachTarget(migration({ verdict: 'Gone' }), keys);
  await isLeft();
  expect(work.handoverPath().direct).toBeUndefined();
});

test('what it says in answer to a ping ends the call that is under way, which has not failed for that', async () => {
  await using resources = new AsyncDisposableStack();
  const answer = Promise.withResolvers<PingAnswer>();
  const told = Promise.withResolvers<void>();
  let isHeld = false;
  const { work, isLeft } = await underWay(resources, {
    ping: async () => (isHeld ? answer.promise : { qemu: 'waiting' }),
    completed: () => {
      told.resolve();
      return Promise.withResolvers<never>().promise;
    },
  });
  isHeld = true;
  using info = vi.spyOn(logger, 'info');
  const asked = work.targetWaits();
  const handedOver = work.handOver(true);
  await told.promise;
  answer.resolve({ qemu: 'other', verdict: 'TookOver' });
  await Promise.all([asked, handedOver]);
  expect(work.heard).toBe('TookOver');
  expect(info).not.toHaveBeenCalledWith(expect.anything(), 'The target was not told directly');
  await isLeft();
});
