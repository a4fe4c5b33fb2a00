import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import type { Place } from './network.ts';

/**
 * A TCP port on which nobody listens now. It lies below the range that Linux takes for outgoing connections (from 32768), so it is
 * still free when a server is restarted.
 */
export async function freePort(address = '127.0.0.1'): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000);
    if (await isFree(address, port)) return port;
  }
}

/** The usual port in a network namespace of its own, where nobody else listens; else a free one. */
export async function portIn({ address, netns }: Place, usual: number): Promise<number> {
  return netns === undefined ? await freePort(address) : usual;
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ host, port }, () => server.close(() => resolve(true)));
  });
}
