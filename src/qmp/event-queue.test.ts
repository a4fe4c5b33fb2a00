import { expect, test } from 'vitest';
import { EventQueue } from './event-queue.ts';
import type { QmpEvent } from './events.ts';
import { readAll } from './testdata/read-all.ts';

const timestampMilliseconds = 1;
const migration = (status: string): QmpEvent => ({ name: 'MIGRATION', data: { status }, timestampMilliseconds });
const pass = (number: number): QmpEvent => ({ name: 'MIGRATION_PASS', data: { pass: number }, timestampMilliseconds });
const other = (event: string, data = {}): QmpEvent => ({ name: 'OTHER', event, data, timestampMilliseconds });

function queueOf(...events: QmpEvent[]): EventQueue {
  const queue = new EventQueue(() => undefined);
  for (const event of events) queue.push(event);
  return queue;
}

test('a slow reader gets the newest pass only, and every state of the migration', async () => {
  const queue = queueOf(migration('setup'), pass(1), pass(2), migration('active'), pass(3), migration('completed'));
  queue.end();
  expect(await readAll(queue)).toEqual([migration('setup'), migration('active'), pass(3), migration('completed')]);
});

test('events that nobody knows are kept once per name', async () => {
  const queue = queueOf(other('A', { n: 1 }), other('B'), other('A', { n: 2 }));
  queue.end();
  expect(await readAll(queue)).toEqual([other('B'), other('A', { n: 2 })]);
});

test('a reader that waits gets each event as it comes', async () => {
  const queue = queueOf();
  const first = queue.next();
  const second = queue.next();
  queue.push(pass(1));
  queue.push(pass(2));
  expect(await Promise.all([first, second])).toMatchObject([{ value: pass(1) }, { value: pass(2) }]);
});

test('the end reaches a waiting reader, and every later one', async () => {
  const queue = queueOf();
  const waiting = queue.next();
  queue.end();
  expect(await waiting).toEqual({ value: undefined, done: true });
  expect(await queue.next()).toEqual({ value: undefined, done: true });
});

test('a reader that leaves its loop is forgotten at once', async () => {
  let ended = 0;
  const queue = new EventQueue(() => ended++);
  queue.push(pass(1));
  for await (const _ of queue) break;
  queue.end();
  expect(ended).toBe(1);
});

test('a flood that nobody reads does not fit', () => {
  const queue = queueOf();
  const accepted = Array.from({ length: 1001 }, () => queue.push(migration('active')));
  expect(accepted.indexOf(false)).toBe(1000);
  const flooded = queueOf();
  expect(Array.from({ length: 5000 }, (_, number) => flooded.push(pass(number))).every(Boolean)).toBe(true);
});
