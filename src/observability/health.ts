import { createServer, type ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';

export interface HealthOptions {
  /** TCP port on all addresses; 0 starts no server. */
  readonly port: number;
  /** Whether this process does its work or could at once: its caches are warm. Asked at every request, so it must be cheap. */
  readonly ready: () => boolean;
  /** What /metrics serves. */
  readonly metrics: Registry;
}

/**
 * Answers the kubelet's probes, /healthz with 200 while the process serves requests at all, /readyz with 200 or 503; and Prometheus.
 * @throws the listening socket's error, such as EADDRINUSE.
 */
export async function startHealthServer(options: HealthOptions): Promise<AsyncDisposable> {
  const { port, ready, metrics } = options;
  if (port === 0) return { [Symbol.asyncDispose]: async () => {} };
  const answers: Record<string, () => number> = {
    '/healthz': () => 200,
    '/readyz': () => (ready() ? 200 : 503),
  };
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0] ?? '';
    if (path === '/metrics') {
      void sendMetrics(metrics, response);
      return;
    }
    const status = answers[path]?.() ?? 404;
    response.writeHead(status, { 'content-type': 'text/plain' }).end(status === 200 ? 'ok\n' : 'no\n');
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, () => resolve());
  });
  // A probe is no reason to stay alive.
  server.unref();
  return {
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function sendMetrics(metrics: Registry, response: ServerResponse): Promise<void> {
  try {
    const text = await metrics.metrics();
    response.writeHead(200, { 'content-type': metrics.contentType }).end(text);
  } catch (error) {
    response.writeHead(500, { 'content-type': 'text/plain' }).end(`${error}\n`);
  }
}
