import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { startHealthServer } from './health.ts';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no TCP address');
  return address.port;
}

const status = async (port: number, path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).status;

test('a process is healthy at once and ready when it says so', async () => {
  const port = await freePort();
  let warm = false;
  await using _server = await startHealthServer({ port, ready: () => warm });
  expect([await status(port, '/healthz'), await status(port, '/readyz')]).toEqual([200, 503]);
  warm = true;
  expect([await status(port, '/readyz?verbose'), await status(port, '/else')]).toEqual([200, 404]);
});

test('a taken port is an error, not a silent absence', async () => {
  const port = await freePort();
  await using _first = await startHealthServer({ port, ready: () => true });
  await expect(startHealthServer({ port, ready: () => true })).rejects.toMatchObject({ code: 'EADDRINUSE' });
});

test('port 0 starts nothing', async () => {
  await using server = await startHealthServer({ port: 0, ready: () => true });
  expect(server).toBeDefined();
});
