import { expect, test } from 'vitest';
import { PodQueue } from './pod-queue.ts';

test('tasks of one pod follow each other in order, also after one that failed', async () => {
  const queue = new PodQueue();
  const log: string[] = [];
  const first = Promise.withResolvers<void>();
  const failing = queue.run('a', async () => {
    log.push('first begins');
    await first.promise;
    log.push('first ends');
    throw new Error('lost');
  });
  const second = queue.run('a', async () => log.push('second'));
  first.resolve();
  await expect(failing).rejects.toThrow('lost');
  await second;
  expect(log).toEqual(['first begins', 'first ends', 'second']);
});

test('tasks of different pods run side by side', async () => {
  const queue = new PodQueue();
  const meeting = Promise.withResolvers<void>();
  const waiting = queue.run('a', () => meeting.promise);
  await queue.run('b', async () => meeting.resolve());
  await waiting;
});

test('a waiting task is taken back by its signal, and the next one runs', async () => {
  const queue = new PodQueue();
  const first = Promise.withResolvers<void>();
  const giveUp = new AbortController();
  const running = queue.run('a', () => first.promise);
  const waiting = queue.run('a', async () => expect.unreachable(), giveUp.signal);
  const last = queue.run('a', async () => 'ran');
  giveUp.abort(new Error('taken back'));
  await expect(waiting).rejects.toThrow('taken back');
  first.resolve();
  await running;
  expect(await last).toBe('ran');
});

test('nothing is kept of pods that have no task', async () => {
  const queue = new PodQueue();
  await queue.run('a', async () => {});
  await expect.poll(() => queue.size).toBe(0);
});
