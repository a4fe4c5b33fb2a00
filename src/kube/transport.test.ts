import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it, vi } from 'vitest';
import { KubeClient } from './client.ts';
import { pods } from './core-resources.ts';
import { isExpired, isNotFound } from './errors.ts';
import { KubeTransport, type TransportOptions } from './transport.ts';

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** Self-signed for localhost and 127.0.0.1, of this test only. */
const key = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgoDFgKOs4yhOvyrov
kWgTxspjC4+xWb/dAVlxy3b8qzehRANCAATVcITRht8U7tiya0OunC+0AOZC8tia
MedkKYsozqS5jKmbizknA+NpeR2yfmsccCavy4Fb0t3uHncSwh31w8Yw
-----END PRIVATE KEY-----`;
const certificate = `-----BEGIN CERTIFICATE-----
MIIBmjCCAUGgAwIBAgIUf0GRZS8+WVuALOVlwxYgORefRfQwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMzIwNTc1NloYDzIxMjYxMDMw
MjA1NzU2WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATVcITRht8U7tiya0OunC+0AOZC8tiaMedkKYsozqS5jKmbizknA+Np
eR2yfmsccCavy4Fb0t3uHncSwh31w8Ywo28wbTAdBgNVHQ4EFgQU8CiysrN17Ip+
fzt++O7jfavuEOswHwYDVR0jBBgwFoAU8CiysrN17Ip+fzt++O7jfavuEOswDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDRwAwRAIgPaPivRS0MZLRe4azyXDUqEkBC4V++xtt3R5odd3jsIECIG30
gq23bcV89tj/sG9cLYrQCuEsUnbEYLrTGZngO02S
-----END CERTIFICATE-----`;

/** An HTTPS server that answers as the test says, and a client of it. */
async function connect(answer: Answer, options: TransportOptions & { token?: { file: string } } = {}) {
  const server = createServer({ key, cert: certificate }, async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    answer(request, response, body);
  });
  let connections = 0;
  server.on('secureConnection', () => {
    connections++;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const { token, ...rest } = options;
  const config = {
    server: `https://127.0.0.1:${port}`,
    namespace: 'default',
    certificateAuthority: { data: Buffer.from(certificate) },
    ...(token && { token }),
  };
  const transport = new KubeTransport(config, rest);
  return {
    server,
    transport,
    client: new KubeClient(transport),
    connections: () => connections,
    async [Symbol.asyncDispose]() {
      await transport.close();
      server.closeAllConnections();
      server.close();
    },
  };
}

const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { namespace: 'default', name: 'a' }, spec: { containers: [] } };
const ref = { namespace: 'default', name: 'a' };

function send(response: ServerResponse, status: number, body: object | string, headers: Record<string, string> = {}) {
  response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body));
}

const refuse = (response: ServerResponse, code: number, reason: string, headers = {}) =>
  send(response, code, { kind: 'Status', code, reason, message: `told ${reason}` }, headers);

it('makes many calls one after the other over one connection', async () => {
  await using api = await connect((_request, response) => send(response, 200, pod));
  for (let count = 0; count < 50; count++) await api.client.get(pods, ref);
  expect(api.connections()).toBe(1);
});

it('lets no slow call or watch hold up another, and opens no more than eight connections for calls', async () => {
  const slow: ServerResponse[] = [];
  await using api = await connect((request, response) => {
    if (request.url?.includes('watch=true')) response.writeHead(200).flushHeaders();
    else if (request.url?.endsWith('/slow')) slow.push(response);
    else send(response, 200, pod);
  });
  const abort = new AbortController();
  const watch = api.client.watch(pods, { resourceVersion: '1', signal: abort.signal });
  const watching = expect(watch.next()).rejects.toThrow('enough');
  const slowOne = api.client.get(pods, { namespace: 'default', name: 'slow' });
  await vi.waitFor(() => expect(slow).toHaveLength(1));
  await Promise.all(Array.from({ length: 40 }, () => api.client.get(pods, ref)));
  slow[0]?.end(JSON.stringify(pod));
  await slowOne;
  abort.abort(new Error('enough'));
  await watching;
  expect(api.connections()).toBeLessThanOrEqual(9);
});

it('sends what it writes with the type of its patch, and counts by method, resource and status', async () => {
  const counted: string[] = [];
  const seen: string[] = [];
  const onRequest: TransportOptions['onRequest'] = (...request) => counted.push(request.join(' '));
  await using api = await connect(
    (request, response, body) => {
      seen.push(`${request.method} ${request.url} ${request.headers['content-type']} ${body}`);
      send(response, 200, pod);
    },
    { onRequest },
  );
  await api.client.jsonPatch(pods, ref, [{ op: 'test', path: '/metadata/uid', value: 'ü' }]);
  await api.client.mergePatch(pods, ref, { status: {} }, { subresource: 'status' });
  await api.client.delete(pods, ref, { uid: 'u', gracePeriodSeconds: 0 });
  const url = '/api/v1/namespaces/default/pods/a';
  expect(seen).toEqual([
    `PATCH ${url} application/json-patch+json [{"op":"test","path":"/metadata/uid","value":"ü"}]`,
    `PATCH ${url}/status application/merge-patch+json {"status":{}}`,
    `DELETE ${url} application/json {"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"uid":"u"},"gracePeriodSeconds":0}`,
  ]);
  expect(counted).toEqual(['PATCH pods 200', 'PATCH pods 200', 'DELETE pods 200']);
});

it('never deletes a collection for want of a name', async () => {
  await using api = await connect((_request, response) => send(response, 200, pod));
  await expect(api.client.delete(pods, { namespace: 'default', name: '' })).rejects.toThrow('without a name');
  await expect(api.client.delete(pods, { name: 'a' })).rejects.toThrow('without a namespace');
});

it('turns refusals into errors with the reason of the API', async () => {
  await using api = await connect((_request, response) => refuse(response, 404, 'NotFound'));
  const error = await api.client.get(pods, ref).catch((reason: unknown) => reason);
  expect(isNotFound(error)).toBe(true);
  expect(error).toMatchObject({ status: 404, message: 'told NotFound' });
});

it('understands answers that are not of the API server', async () => {
  await using api = await connect((_request, response) => send(response, 503, 'upstream is down'));
  await expect(api.client.get(pods, ref)).rejects.toMatchObject({
    code: 'ServiceUnavailable',
    message: 'upstream is down',
  });
});

it('repeats a call that was refused as too busy, after the time the server asks for, but not for ever', async () => {
  let calls = 0;
  await using api = await connect((_request, response) => {
    calls++;
    if (calls === 1) refuse(response, 429, 'TooManyRequests', { 'retry-after': '0' });
    else if (calls === 2) refuse(response, 503, 'ServiceUnavailable', { 'retry-after': '0' });
    else if (calls === 3) send(response, 200, pod);
    else refuse(response, 429, 'TooManyRequests', { 'retry-after': '0' });
  });
  await api.client.get(pods, ref);
  expect(calls).toBe(3);
  await expect(api.client.get(pods, ref)).rejects.toMatchObject({ code: 'TooManyRequests', retryAfterSeconds: 0 });
  expect(calls).toBe(7);
});

it('does not wait for a server that asks for more time than the call has', async () => {
  let calls = 0;
  await using api = await connect((_request, response) => {
    calls++;
    refuse(response, 429, 'TooManyRequests', { 'retry-after': '11' });
  });
  await expect(api.client.get(pods, ref)).rejects.toMatchObject({ retryAfterSeconds: 11 });
  expect(calls).toBe(1);
});

it('gives up a call that is not answered, and serves the next on a new connection', async () => {
  let calls = 0;
  await using api = await connect(
    (_request, response) => {
      calls++;
      if (calls > 1) send(response, 200, pod);
    },
    { requestTimeoutMilliseconds: 100 },
  );
  const before = api.transport.lastAnswerAt();
  await expect(api.client.get(pods, ref)).rejects.toMatchObject({ status: 0, code: 'Timeout' });
  expect(api.transport.lastAnswerAt()).toBe(before);
  await vi.waitFor(() => api.client.get(pods, ref));
  expect(api.transport.lastAnswerAt()).toBeGreaterThan(0);
});

it('rejects with the reason of the caller’s signal', async () => {
  await using api = await connect(() => {});
  const abort = new AbortController();
  const waiting = expect(api.client.get(pods, ref, { signal: abort.signal })).rejects.toThrow('changed my mind');
  abort.abort(new Error('changed my mind'));
  await waiting;
});

it('reports a connection that breaks in the middle of an answer', async () => {
  await using api = await connect((_request, response) => {
    response.writeHead(200, { 'content-length': '1000' });
    response.write('{"kind":', () => response.destroy());
  });
  await expect(api.client.get(pods, ref)).rejects.toMatchObject({ status: 0, code: 'ConnectionFailed' });
});

it('reads a rotated token after it was refused', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'transport-'));
  try {
    const file = path.join(folder, 'token');
    writeFileSync(file, 'old\n');
    await using api = await connect(
      (request, response) => {
        if (request.headers.authorization === 'Bearer new') send(response, 200, pod);
        else refuse(response, 401, 'Unauthorized');
      },
      { token: { file } },
    );
    await expect(api.client.get(pods, ref)).rejects.toMatchObject({ code: 'Unauthorized' });
    writeFileSync(file, 'new\n');
    await api.client.get(pods, ref);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it('delivers each watch event as it comes, whole, however it was cut into pieces', async () => {
  const open = Promise.withResolvers<ServerResponse>();
  await using api = await connect((_request, response) => {
    response.writeHead(200).flushHeaders();
    open.resolve(response);
  });
  const watch = api.client.watch(pods, { resourceVersion: '7', timeoutSeconds: 300 });
  const first = watch.next();
  const response = await open.promise;
  expect(response.req.url).toBe(
    '/api/v1/pods?watch=true&allowWatchBookmarks=true&resourceVersion=7&timeoutSeconds=300',
  );
  const line = Buffer.from(`${JSON.stringify({ type: 'ADDED', object: { ...pod, note: 'grün' } })}\n`);
  const middle = line.indexOf('ü') + 1;
  response.write(line.subarray(0, middle));
  setImmediate(() => response.write(line.subarray(middle)));
  expect(await first).toMatchObject({ value: { type: 'ADDED', object: { note: 'grün' } } });
  const bookmark = { type: 'BOOKMARK', object: { metadata: { resourceVersion: '9' } } };
  const expired = { type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' } };
  response.write(`${JSON.stringify(bookmark)}\n${JSON.stringify(expired)}\n`);
  expect(await watch.next()).toMatchObject({ value: { type: 'BOOKMARK', resourceVersion: '9' } });
  const error = await watch.next().catch((reason: unknown) => reason);
  expect(isExpired(error)).toBe(true);
});

it('ends a watch that is silent for too long, and closes its connection', async () => {
  const closed = Promise.withResolvers<void>();
  await using api = await connect((_request, response) => {
    response.on('close', closed.resolve);
    response.writeHead(200).flushHeaders();
  });
  const watch = api.client.watch(pods, { resourceVersion: '1', idleTimeoutMilliseconds: 50 });
  await expect(watch.next()).rejects.toMatchObject({ code: 'Timeout' });
  await closed.promise;
});

it('closes the connection of a watch whose reader leaves', async () => {
  const closed = Promise.withResolvers<void>();
  await using api = await connect((_request, response) => {
    response.on('close', closed.resolve);
    response.writeHead(200);
    response.write(`${JSON.stringify({ type: 'ADDED', object: pod })}\n`);
  });
  for await (const event of api.client.watch(pods, { resourceVersion: '1' })) {
    expect(event.type).toBe('ADDED');
    break;
  }
  await closed.promise;
});

it('lists page by page, and in one page when the server forgot the moment in between', async () => {
  const seen: string[] = [];
  await using api = await connect((request, response) => {
    const query = new URL(request.url ?? '', 'https://x').searchParams;
    seen.push(`${query.get('limit')} ${query.get('continue')}`);
    const page = (name: string, next?: string) => ({
      metadata: { resourceVersion: '5', continue: next },
      items: [{ metadata: { name, managedFields: [] } }],
    });
    if (query.get('limit') === null) send(response, 200, page('whole'));
    else if (query.get('continue') === null) send(response, 200, page('first', 'next'));
    else if (seen.length === 2) send(response, 200, page('second'));
    else refuse(response, 410, 'Expired');
  });
  const twoPages = await api.client.list(pods);
  expect(twoPages.resourceVersion).toBe('5');
  expect(twoPages.items).toEqual([
    { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'first' } },
    { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'second' } },
  ]);
  const onePage = await api.client.list(pods);
  expect(onePage.items).toHaveLength(1);
  expect(seen).toEqual(['500 null', '500 next', '500 null', '500 next', 'null null']);
});

it('refuses to talk without TLS', () => {
  expect(() => new KubeTransport({ server: 'http://127.0.0.1:8080', namespace: 'default' })).toThrow('https');
});
