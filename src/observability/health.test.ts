import { Gauge } from 'prom-client';
import { expect, test } from 'vitest';
import { freePort } from '../../test/cluster/free-port.ts';
import { startHealthServer } from './health.ts';
import { createRegistry } from './metrics.ts';

const metrics = createRegistry();

const status = async (port: number, path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).status;

test('a process is healthy at once and ready when it says so', async () => {
  const port = await freePort();
  let warm = false;
  await using _server = await startHealthServer({ port, ready: () => warm, metrics });
  expect([await status(port, '/healthz'), await status(port, '/readyz')]).toEqual([200, 503]);
  warm = true;
  expect([await status(port, '/readyz?verbose'), await status(port, '/else')]).toEqual([200, 404]);
});

test('a taken port is an error, not a silent absence', async () => {
  const port = await freePort();
  await using _first = await startHealthServer({ port, ready: () => true, metrics });
  await expect(startHealthServer({ port, ready: () => true, metrics })).rejects.toMatchObject({ code: 'EADDRINUSE' });
});

test('port 0 starts nothing', async () => {
  await using server = await startHealthServer({ port: 0, ready: () => true, metrics });
  expect(server).toBeDefined();
});

test('Prometheus gets what it asks for, and is told when something cannot be counted', async () => {
  const port = await freePort();
  const registry = createRegistry();
  await using _server = await startHealthServer({ port, ready: () => true, metrics: registry });
  const answer = await fetch(`http://127.0.0.1:${port}/metrics`);
  expect(answer.headers.get('content-type')).toContain('version=0.0.4');
  expect(await answer.text()).toMatch(/^process_resident_memory_bytes [1-9]\d+$/m);
  new Gauge({
    name: 'broken',
    help: 'cannot be counted',
    registers: [registry],
    collect() {
      throw new Error('no');
    },
  });
  expect(await status(port, '/metrics')).toBe(500);
});
