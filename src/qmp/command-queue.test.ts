import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { CommandQueue } from './command-queue.ts';
import { QmpDisconnected } from './errors.ts';

let sent: { id: number; execute?: string; 'exec-oob'?: string }[];
let queue: CommandQueue;
const outcomes: Record<string, unknown> = {};

beforeEach(() => {
  vi.useFakeTimers();
  sent = [];
  queue = new CommandQueue((line) => sent.push(JSON.parse(line)));
  for (const name of Object.keys(outcomes)) delete outcomes[name];
});

afterEach(() => {
  vi.useRealTimers();
});

/** Submits a command, of 1000 ms unless said; `outcomes[command]` becomes what it came to. */
function submit(command: string, options: { outOfBand?: boolean; timeout?: number; signal?: AbortSignal } = {}): void {
  queue
    .submit({
      command,
      arguments: undefined,
      outOfBand: options.outOfBand ?? false,
      timeoutMilliseconds: options.timeout ?? 1000,
      signal: options.signal,
    })
    .then(
      (value) => {
        outcomes[command] = value;
      },
      (error) => {
        outcomes[command] = error;
      },
    );
}

const names = () => sent.map((message) => message.execute ?? message['exec-oob']);
const settled = () => vi.advanceTimersByTimeAsync(0);

test('in band one is in flight, and the rest follow in order', async () => {
  for (const command of ['a', 'b', 'c']) submit(command);
  expect(names()).toEqual(['a']);
  queue.settle({ id: 1, value: 'first' });
  queue.settle({ id: 2, value: 'second' });
  await settled();
  expect(names()).toEqual(['a', 'b', 'c']);
  expect(outcomes).toEqual({ a: 'first', b: 'second' });
});

test('out of band overtakes, in any number', async () => {
  submit('blocked');
  submit('yank', { outOfBand: true });
  submit('query-yank', { outOfBand: true });
  queue.settle({ id: 3, value: [] });
  queue.settle({ id: 2, value: {} });
  await settled();
  expect(outcomes).toEqual({ yank: {}, 'query-yank': [] });
});

test("QEMU's error is told with its class, and the queue goes on", async () => {
  submit('a');
  submit('b');
  queue.settle({ id: 1, error: { class: 'GenericError', desc: 'no' } });
  await settled();
  expect(outcomes.a).toMatchObject({
    code: 'QmpCommandFailed',
    class: 'GenericError',
    description: 'no',
    command: 'a',
  });
  expect(names()).toEqual(['a', 'b']);
});

test('the clock of a command starts when it is sent', async () => {
  submit('a');
  submit('b');
  await vi.advanceTimersByTimeAsync(900);
  queue.settle({ id: 1, value: 1 });
  await vi.advanceTimersByTimeAsync(900);
  queue.settle({ id: 2, value: 2 });
  await settled();
  expect(outcomes).toEqual({ a: 1, b: 2 });
});

test('behind a command whose time is up nothing is sent, and nobody waits for ever', async () => {
  submit('a');
  submit('b');
  await vi.advanceTimersByTimeAsync(1000);
  expect(outcomes).toMatchObject({ a: { code: 'QmpTimeout', sent: true } });
  submit('c');
  await vi.advanceTimersByTimeAsync(1000);
  expect(outcomes).toMatchObject({ b: { code: 'QmpTimeout', sent: false }, c: { code: 'QmpTimeout', sent: false } });
  expect(names()).toEqual(['a']);
});

test('out of band works past a command whose time is up', async () => {
  submit('a');
  await vi.advanceTimersByTimeAsync(1000);
  submit('yank', { outOfBand: true });
  queue.settle({ id: 2, value: 'cut' });
  await settled();
  expect(outcomes.yank).toBe('cut');
});

test('a late reply is dropped and lets the queue go on, each with its whole time', async () => {
  for (const command of ['a', 'b', 'c']) submit(command);
  await vi.advanceTimersByTimeAsync(1900);
  queue.settle({ id: 1, value: 'late' });
  submit('d');
  await vi.advanceTimersByTimeAsync(900);
  queue.settle({ id: 2, value: 'in time' });
  await vi.advanceTimersByTimeAsync(900);
  queue.settle({ id: 3, value: 'in time too' });
  queue.settle({ id: 4, value: 'last' });
  await settled();
  expect(outcomes).toMatchObject({ a: { code: 'QmpTimeout' }, b: 'in time', c: 'in time too', d: 'last' });
});

test('once QEMU answers again a short command waits for a long one', async () => {
  submit('a');
  await vi.advanceTimersByTimeAsync(1000);
  queue.settle({ id: 1, value: 'late' });
  submit('long', { timeout: 60_000 });
  submit('short');
  await vi.advanceTimersByTimeAsync(30_000);
  queue.settle({ id: 2, value: 'done' });
  queue.settle({ id: 3, value: 'done too' });
  await settled();
  expect(outcomes).toMatchObject({ long: 'done', short: 'done too' });
});

test('a late reply out of band is dropped', async () => {
  submit('yank', { outOfBand: true });
  await vi.advanceTimersByTimeAsync(1000);
  queue.settle({ id: 1, value: 'late' });
  expect(outcomes.yank).toMatchObject({ code: 'QmpTimeout', sent: true });
});

test('who aborts while waiting is never sent; who aborts in flight leaves the place taken until the reply', async () => {
  const [first, second] = [new AbortController(), new AbortController()];
  submit('a', { signal: first.signal });
  submit('b', { signal: second.signal });
  submit('c');
  first.abort('a gave up');
  second.abort('b gave up');
  await settled();
  expect(outcomes).toEqual({ a: 'a gave up', b: 'b gave up' });
  expect(names()).toEqual(['a']);
  queue.settle({ id: 1, value: 'late' });
  expect(names()).toEqual(['a', 'c']);
});

test('behind an aborted command that QEMU never answers nobody waits for ever', async () => {
  const abort = new AbortController();
  submit('a', { signal: abort.signal });
  submit('b');
  abort.abort('gave up');
  await vi.advanceTimersByTimeAsync(2000);
  expect(outcomes).toMatchObject({ a: 'gave up', b: { code: 'QmpTimeout', sent: false } });
});

test('an aborted signal sends nothing', async () => {
  submit('a', { signal: AbortSignal.abort('before') });
  await settled();
  expect(outcomes.a).toBe('before');
  expect(sent).toEqual([]);
});

test('an id that was never given out is a violation', () => {
  submit('a');
  for (const id of [0, 2, -1]) expect(() => queue.settle({ id, value: {} })).toThrow('unknown id');
});

test('the end of the connection reaches all of them, and leaves no timer', async () => {
  const signal = new AbortController().signal;
  submit('a', { signal });
  submit('b');
  submit('yank', { outOfBand: true });
  const gone = new QmpDisconnected('gone');
  queue.close(gone);
  submit('later');
  await settled();
  expect(outcomes).toEqual({ a: gone, b: gone, yank: gone, later: gone });
  expect(vi.getTimerCount()).toBe(0);
});
