import { pino } from 'pino';
import { expect, it } from 'vitest';
import { Controller } from './controller.ts';
import { ApiError } from './errors.ts';

/** A logger that keeps its lines. */
function recordingLogger() {
  const lines: { level: number; msg: string; key?: string }[] = [];
  const logger = pino({ level: 'debug' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  return { logger, lines };
}

const quiet = pino({ level: 'silent' });

it('reconciles what was enqueued before it was started', async () => {
  const seen = Promise.withResolvers<string>();
  await using controller = new Controller({
    name: 'test',
    logger: quiet,
    reconcile: async (key) => {
      seen.resolve(key);
      return {};
    },
  });
  controller.enqueue('default/a');
  controller.start();
  expect(await seen.promise).toBe('default/a');
});

it('works on as many keys at once as it may, and on one key never twice at once', async () => {
  const atWork = new Set<string>();
  const gate = Promise.withResolvers<void>();
  const allBusy = Promise.withResolvers<void>();
  const finished: string[] = [];
  const allFinished = Promise.withResolvers<void>();
  await using controller = new Controller({
    name: 'test',
    logger: quiet,
    concurrency: 2,
    reconcile: async (key) => {
      expect(atWork.has(key)).toBe(false);
      atWork.add(key);
      expect(atWork.size).toBeLessThanOrEqual(2);
      if (atWork.size === 2) allBusy.resolve();
      await gate.promise;
      atWork.delete(key);
      finished.push(key);
      if (finished.length === 4) allFinished.resolve();
      return {};
    },
  });
  controller.start();
  for (const key of ['a', 'b', 'c', 'a']) controller.enqueue(key);
  await allBusy.promise;
  controller.enqueue('a');
  gate.resolve();
  await allFinished.promise;
  expect(finished.toSorted()).toEqual(['a', 'a', 'b', 'c']);
});

it('comes back to a key that failed, logs why, and to one that asked for it', async () => {
  const { logger, lines } = recordingLogger();
  const done = Promise.withResolvers<void>();
  let calls = 0;
  await using controller = new Controller({
    name: 'test',
    logger,
    reconcile: async () => {
      calls++;
      if (calls === 1) throw new Error('no luck');
      if (calls === 2) throw new ApiError(409, 'Conflict', 'read it again');
      if (calls === 3) return { requeueAfterMilliseconds: 1 };
      done.resolve();
      return {};
    },
  });
  controller.start();
  controller.enqueue('a');
  await done.promise;
  const levels = pino.levels.values;
  expect(lines.map(({ level, key }) => [level, key])).toEqual([
    [levels.error, 'a'],
    [levels.debug, 'a'],
  ]);
});

it('aborts what is under way when it is disposed of, waits for it, and starts nothing more', async () => {
  const { logger, lines } = recordingLogger();
  const started = Promise.withResolvers<void>();
  const seen: string[] = [];
  let ended = false;
  const controller = new Controller({
    name: 'test',
    logger,
    reconcile: async (key, signal) => {
      seen.push(key);
      started.resolve();
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      ended = true;
      throw signal.reason;
    },
  });
  controller.start();
  controller.enqueue('a');
  controller.enqueue('b');
  await started.promise;
  await controller[Symbol.asyncDispose]();
  controller.enqueue('c');
  expect({ ended, seen, lines }).toEqual({ ended: true, seen: ['a'], lines: [] });
});
