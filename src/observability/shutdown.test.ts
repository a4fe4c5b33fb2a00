import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';

const modules = {
  logger: new URL('./logger.ts', import.meta.url).href,
  shutdown: new URL('./shutdown.ts', import.meta.url).href,
};

/** A process of its own around `runProcess`: signals are not a thing to fake. */
function start(body: string, deadlineMilliseconds = 5_000): ChildProcess {
  const program = `
    import { createLogger } from '${modules.logger}';
    import { runProcess } from '${modules.shutdown}';
    const held = setInterval(() => {}, 1000);
    const say = (word) => process.stdout.write(word + '\\n');
    const untilAborted = (signal) => new Promise((resolve) => signal.addEventListener('abort', resolve));
    const code = await runProcess({ logger: createLogger({ name: 'test' }), deadlineMilliseconds: ${deadlineMilliseconds} },
      async (signal, resources) => { ${body} });
    process.exit(code);`;
  return spawn(process.execPath, ['--input-type=module', '-e', program], {
    env: { ...process.env, LOG_LEVEL: 'silent' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

async function wordsAndEnd(child: ChildProcess, onWord: (word: string) => void = () => {}) {
  const words: string[] = [];
  const ended = once(child, 'close');
  if (child.stdout === null) throw new Error('stdout is a pipe');
  createInterface(child.stdout).on('line', (word) => {
    words.push(word);
    onWord(word);
  });
  const [code, signal] = await ended;
  return { words, code, signal };
}

test('a signal ends the work, then what it holds, last taken first', async () => {
  const child = start(`
    resources.defer(() => say('first'));
    resources.defer(async () => say('second'));
    say('ready');
    await untilAborted(signal);
    say('returned');`);
  const end = await wordsAndEnd(child, (word) => word === 'ready' && child.kill('SIGTERM'));
  expect(end).toMatchObject({ words: ['ready', 'returned', 'second', 'first'], code: 0 });
});

test('work that throws because of the signal has ended well', async () => {
  const child = start(`say('ready'); await untilAborted(signal); signal.throwIfAborted();`);
  expect(await wordsAndEnd(child, () => child.kill('SIGINT'))).toMatchObject({ code: 0 });
});

test('work that fails by itself still closes what it holds, and ends with 1', async () => {
  const child = start(`resources.defer(() => say('closed')); throw new Error('lost');`);
  expect(await wordsAndEnd(child)).toMatchObject({ words: ['closed'], code: 1 });
});

test('a disposal that hangs is cut off at the deadline', async () => {
  const child = start(`resources.defer(() => new Promise(() => {})); say('ready'); await untilAborted(signal);`, 50);
  expect(await wordsAndEnd(child, () => child.kill('SIGTERM'))).toMatchObject({ code: 1 });
});

test('a second signal ends the process at once', async () => {
  const child = start(`
    resources.defer(() => { say('hanging'); return new Promise(() => {}); });
    say('ready');
    await untilAborted(signal);`);
  const end = await wordsAndEnd(child, () => child.kill('SIGTERM'));
  expect(end).toMatchObject({ words: ['ready', 'hanging'], code: 143 });
});
