/**
 * One agent at a time for a state directory. Two would each take the notes in it for its own, and tell QEMU opposite things: so the
 * second, of an overlapping rollout, waits for the end of the first.
 */
import { once } from 'node:events';
import { mkdir, stat } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../observability/logger.ts';

/** Between two tries: the other one's end is noticed at once, but not always that nobody was faster. */
const retryMilliseconds = 100;
/** One that is stopped says nothing of itself. */
const introductionMilliseconds = 1_000;

/**
 * Resolves when this process is the only one that works with the folder, which is created if need be. It stays so until the result is
 * disposed of or the process ends, in whatever way: the lock is an abstract unix socket, which the kernel removes with its
 * process. Such a socket belongs to a network namespace; agents live in that of their node.
 *
 * @throws the signal's reason when it aborts before
 */
export async function becomeSingleInstance(
  folder: string,
  logger: Logger,
  signal: AbortSignal,
): Promise<AsyncDisposable> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const { dev, ino } = await stat(folder, { bigint: true });
  const path = `\0vmferry-agent/${dev}/${ino}`;
  let isTold = false;
  for (;;) {
    signal.throwIfAborted();
    const lock = await take(path);
    if (lock !== undefined) {
      if (isTold) logger.info({ stateDirectory: folder }, 'The other agent has ended');
      return lock;
    }
    await outlast(path, signal, (pid) => {
      if (!isTold) logger.info({ stateDirectory: folder, pid }, 'Waiting for the end of another agent on this node');
      isTold = true;
    });
  }
}

/** @returns undefined when somebody else has it */
async function take(path: string): Promise<AsyncDisposable | undefined> {
  const waiting = new Set<Socket>();
  // Whoever comes is told who has the lock, and notices our end by that of its connection.
  const server = createServer((socket) => {
    waiting.add(socket.unref());
    socket.on('error', () => undefined).on('close', () => waiting.delete(socket));
    socket.write(`${process.pid}\n`);
  });
  server.listen({ path });
  try {
    await once(server, 'listening');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') return undefined;
    throw error;
  }
  server.unref();
  return { [Symbol.asyncDispose]: () => release(server, waiting) };
}

async function release(server: Server, waiting: ReadonlySet<Socket>): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const socket of waiting) socket.destroy();
  await closed;
}

/** Returns when whoever has the lock seems to have ended. @param onHolder is told its process id, if it says it */
async function outlast(path: string, signal: AbortSignal, onHolder: (pid: number | undefined) => void): Promise<void> {
  const socket = connect({ path });
  const stop = () => socket.destroy();
  signal.addEventListener('abort', stop, { once: true });
  const silence = setTimeout(() => onHolder(undefined), introductionMilliseconds);
  try {
    socket.once('data', (line) => {
      clearTimeout(silence);
      onHolder(Number.parseInt(line.toString(), 10));
    });
    // An error, too, says that nobody listens any more, or not yet.
    if (!socket.closed) await once(socket, 'close').catch(() => undefined);
  } finally {
    clearTimeout(silence);
    signal.removeEventListener('abort', stop);
  }
  await delay(retryMilliseconds, undefined, { signal }).catch(() => undefined);
}
