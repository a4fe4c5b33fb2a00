import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { becomeSingleInstance } from './single-instance.ts';

let folder: string;
const children: ChildProcess[] = [];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vmferry-single-'));
});
afterEach(async () => {
  for (const child of children.splice(0)) if (child.exitCode === null) child.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
});

/** Another process that has the lock until it is killed: its logger writes to the same lines. */
async function another(): Promise<{ child: ChildProcess; next: () => Promise<string> }> {
  const program = `
    import { becomeSingleInstance } from '${new URL('./single-instance.ts', import.meta.url).href}';
    const log = { info: (facts, what) => console.log(JSON.stringify({ ...facts, what })) };
    await becomeSingleInstance(${JSON.stringify(folder)}, log, new AbortController().signal);
    console.log('mine');
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  return { child, next: async () => (await lines.next()).value ?? 'nothing more' };
}

test('of two processes one works, the other says whom it waits for, and follows when the first is killed', async () => {
  const first = await another();
  expect(await first.next()).toBe('mine');
  const second = await another();
  expect(JSON.parse(await second.next())).toEqual({
    stateDirectory: folder,
    pid: first.child.pid,
    what: 'Waiting for the end of another agent on this node',
  });
  first.child.kill('SIGKILL');
  expect(JSON.parse(await second.next())).toEqual({ stateDirectory: folder, what: 'The other agent has ended' });
  expect(await second.next()).toBe('mine');
});

const silent = pino({ level: 'silent' });
const ever = new AbortController().signal;

/** Waits for the lock of the folder; `told` resolves with what it says when it has to. */
function waiter(signal = ever) {
  const told = Promise.withResolvers<object>();
  const logger = pino({ base: {} }, { write: (line: string) => told.resolve(JSON.parse(line)) });
  return { told: told.promise, lock: becomeSingleInstance(folder, logger, signal) };
}

test('one that is stopped keeps the lock, and is waited for although it does not say who it is', async () => {
  const first = await another();
  expect(await first.next()).toBe('mine');
  first.child.kill('SIGSTOP');
  const abort = new AbortController();
  const { told, lock } = waiter(abort.signal);
  const gaveUp = expect(lock).rejects.toThrow('enough');
  expect(await told).toMatchObject({ stateDirectory: folder });
  abort.abort(new Error('enough'));
  await gaveUp;
});

test('given up in order, it is free for one who waits', async () => {
  const first = await becomeSingleInstance(folder, silent, ever);
  const { told, lock } = waiter();
  expect(await told).toMatchObject({ pid: process.pid });
  await first[Symbol.asyncDispose]();
  await (await lock)[Symbol.asyncDispose]();
});

test('another folder is another lock; the same is the same, however it is reached', async () => {
  await using _ = await becomeSingleInstance(folder, silent, ever);
  await using _other = await becomeSingleInstance(join(folder, 'other'), silent, ever);
  const abort = new AbortController();
  const gaveUp = expect(becomeSingleInstance(`${folder}/./`, silent, abort.signal)).rejects.toThrow('enough');
  abort.abort(new Error('enough'));
  await gaveUp;
});

test('many at once: one after another', async () => {
  let inside = 0;
  const work = async () => {
    const lock = await becomeSingleInstance(folder, silent, ever);
    expect(++inside).toBe(1);
    await new Promise(setImmediate);
    inside--;
    await lock[Symbol.asyncDispose]();
  };
  await Promise.all([work(), work(), work(), work()]);
});
