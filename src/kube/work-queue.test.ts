import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WorkQueue } from './work-queue.ts';

describe('a work queue', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('hands out a key once however often it was added', async () => {
    const queue = new WorkQueue();
    for (const key of ['a', 'b', 'a', 'a']) queue.add(key);
    expect(queue.length).toBe(2);
    expect([await queue.take(), await queue.take()]).toEqual(['a', 'b']);
    expect(queue.length).toBe(0);
  });

  it('gives a key that is added while it is worked on to nobody until that is done', async () => {
    const queue = new WorkQueue();
    queue.add('a');
    await queue.take();
    queue.add('a');
    queue.add('b');
    expect(await queue.take()).toBe('b');
    const next = queue.take();
    queue.done('b');
    expect(queue.length).toBe(0);
    queue.done('a');
    expect(await next).toBe('a');
  });

  it('wakes a waiting worker', async () => {
    const queue = new WorkQueue();
    const first = queue.take();
    const second = queue.take();
    queue.add('a');
    queue.add('b');
    expect([await first, await second]).toEqual(['a', 'b']);
  });

  it('adds a delayed key at the earliest of its times', async () => {
    const queue = new WorkQueue();
    queue.addAfter('a', 500);
    queue.addAfter('a', 100);
    queue.addAfter('a', 900);
    vi.advanceTimersByTime(99);
    expect(queue.length).toBe(0);
    vi.advanceTimersByTime(1);
    expect(queue.length).toBe(1);
    await queue.take();
    queue.done('a');
    vi.advanceTimersByTime(10_000);
    expect(queue.length).toBe(0);
  });

  it('keeps a wake-up that was asked for when the key is added before', async () => {
    const queue = new WorkQueue();
    queue.addAfter('a', 100);
    queue.add('a');
    await queue.take();
    queue.done('a');
    vi.advanceTimersByTime(100);
    expect(await queue.take()).toBe('a');
  });

  it('survives a delay longer than a timer can be', () => {
    const queue = new WorkQueue();
    queue.addAfter('a', Number.MAX_SAFE_INTEGER);
    vi.advanceTimersByTime(1_000_000);
    expect(queue.length).toBe(0);
    queue.close();
  });

  it('doubles the wait with every failure of a key up to the cap, and starts again after a success', async () => {
    const queue = new WorkQueue({ maxBackoffMilliseconds: 50 });
    const waits = () => [1, 2, 3, 4, 5].map(() => queue.addAfterFailure('a'));
    expect(waits()).toEqual([5, 10, 20, 40, 50]);
    expect(queue.addAfterFailure('b')).toBe(5);
    queue.forget('a');
    expect(queue.addAfterFailure('a')).toBe(5);
  });

  it('ends its workers when it is closed, and forgets what waited', async () => {
    const queue = new WorkQueue();
    const waiting = queue.take();
    queue.addAfter('b', 10);
    queue.close();
    expect(await waiting).toBeUndefined();
    queue.add('c');
    vi.advanceTimersByTime(100);
    expect(queue.length).toBe(0);
    expect(await queue.take()).toBeUndefined();
    expect(vi.getTimerCount()).toBe(0);
  });
});

it('never gives a key to two workers at once, and never loses one', async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant('add' as const), key: fc.constantFrom('a', 'b', 'c') }),
    fc.record({ do: fc.constantFrom('take' as const, 'done' as const), key: fc.constant('') }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const queue = new WorkQueue();
      const atWork: string[] = [];
      const addedSinceTaken = new Set<string>();
      const take = async () => {
        const key = await queue.take();
        if (key === undefined) return;
        expect(atWork).not.toContain(key);
        atWork.push(key);
        addedSinceTaken.delete(key);
      };
      for (const { do: what, key } of steps) {
        if (what === 'add') {
          queue.add(key);
          addedSinceTaken.add(key);
        } else if (what === 'take' && queue.length > 0) {
          await take();
        } else if (what === 'done') {
          const finished = atWork.shift();
          if (finished) queue.done(finished);
        }
      }
      for (const key of atWork.splice(0)) queue.done(key);
      while (queue.length > 0) await take();
      expect([...addedSinceTaken]).toEqual([]);
    }),
  );
});
