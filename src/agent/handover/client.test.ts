import { once } from 'node:events';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { expect, test, vi } from 'vitest';
import { TcpProxy } from '../../../test/integration/kube/tcp-proxy.ts';
import { createKeyPair } from '../../certificates/key-pair.ts';
import { HandoverClient } from './client.ts';
import { HandoverRefused, HandoverUnreachable } from './errors.ts';
import { attempt, attemptOf, host, listeningTo, logger, otherAttempt, startTarget } from './handover.test-support.ts';
import { maxBodyBytes, type PingAnswer } from './messages.ts';

const patient = { timeout: 5_000, interval: 10 };
const completed = { resumeTarget: true, stoppedAt: 5 };

function connectSource(port: number, as = attempt): HandoverClient {
  const { name, source: own, target } = as;
  return new HandoverClient({ name, host, port, own, peerCertificate: target.certificate, logger });
}

const reached = (client: HandoverClient) => vi.waitFor(() => expect(client.lastAnswer).toBeDefined(), patient);

/** Between a source and a target; what it does to its connections is the test's to say. */
async function proxyTo(port: number) {
  const proxy = new TcpProxy(`https://${host}:${port}`);
  return Object.assign(proxy, { port: Number(new URL(await proxy.listen()).port) });
}

test('it pings unasked, tells and asks', async () => {
  await using target = await startTarget();
  await using client = connectSource(target.server.port);
  const before = performance.now();
  await reached(client);
  expect(client.lastAnswer?.answer).toEqual({ qemu: 'waiting' });
  expect(client.lastAnswer?.at).toBeGreaterThan(before);
  expect(await client.completed(completed)).toEqual({ verdict: 'TookOver' });
  expect(await client.refuse({ reason: 'SourceFrozen', message: 'x'.repeat(5_000) })).toEqual({ verdict: 'Refused' });
  expect(target.heard).toEqual([
    `completed ${JSON.stringify(completed)}`,
    `refuse ${JSON.stringify({ reason: 'SourceFrozen', message: 'x'.repeat(1_000) })}`,
  ]);
  await vi.waitFor(() => expect(client.lastAnswer?.at).toBeGreaterThan(before + 1_000), patient);
});

test('only what is new is announced, and a handler that fails ends nothing', async () => {
  const answers: PingAnswer[] = [
    { qemu: 'waiting' },
    { qemu: 'waiting' },
    { qemu: 'silent' },
    { qemu: 'silent', verdict: 'Refused' },
    { qemu: 'silent', verdict: 'Refused' },
    { qemu: 'absent', verdict: 'Refused' },
  ];
  await using target = await startTarget({ ping: async () => answers.shift() ?? { qemu: 'other' } });
  await using client = connectSource(target.server.port);
  const heard: PingAnswer[] = [];
  client.onAnswer(() => {
    throw new Error('a mistake');
  });
  const stop = client.onAnswer((answer) => heard.push(answer));
  await vi.waitFor(() => expect(answers).toHaveLength(4), patient);
  for (let count = 0; count < 4; count++) await client.ping();
  const news = [
    { qemu: 'waiting' },
    { qemu: 'silent' },
    { qemu: 'silent', verdict: 'Refused' },
    { qemu: 'absent', verdict: 'Refused' },
  ];
  expect(heard).toEqual(news);
  stop();
  await vi.waitFor(() => expect(client.lastAnswer?.answer).toEqual({ qemu: 'other' }), patient);
  expect(heard).toEqual(news);
});

test('many calls take two connections, and a ping that waits does not hold up the call that matters', async () => {
  const qemu = Promise.withResolvers<PingAnswer>();
  let isSilent = false;
  let waiting = 0;
  await using target = await startTarget({
    ping: async () => {
      if (!isSilent) return { qemu: 'waiting' };
      waiting++;
      return qemu.promise;
    },
  });
  await using proxy = await proxyTo(target.server.port);
  await using client = connectSource(proxy.port);
  await vi.waitFor(() => expect(proxy.accepted).toBe(2), patient);
  await reached(client);
  for (let count = 0; count < 50; count++) await client.completed(completed);
  isSilent = true;
  const ping = client.ping();
  await vi.waitFor(() => expect(waiting).toBe(1));
  expect(await client.completed(completed)).toEqual({ verdict: 'TookOver' });
  qemu.resolve({ qemu: 'silent' });
  expect(await ping).toEqual({ qemu: 'silent' });
  expect(proxy.accepted).toBe(2);
});

test.each([
  { who: 'a third party with the name of the target', server: () => createKeyPair(attempt.name) },
  { who: 'the target of another attempt', server: async () => otherAttempt.target },
])('$who hears nothing, and the right one is found at the same place afterwards', async ({ server }) => {
  const impostor = { ...attempt, target: await server() };
  const wrong = await startTarget({}, 0, impostor);
  const { port } = wrong.server;
  await using client = connectSource(port);
  await expect(client.completed(completed)).rejects.toMatchObject({ name: 'HandoverRefused', code: 'WrongPeer' });
  await expect(client.ping()).rejects.toMatchObject({ code: 'WrongPeer' });
  expect(wrong.heard).toEqual([]);
  expect(client.lastAnswer).toBeUndefined();
  await wrong.stop();
  await using _right = await startTarget({}, port);
  await reached(client);
  expect(await client.completed(completed)).toEqual({ verdict: 'TookOver' });
});

test("the target's own certificate is refused when it has expired", async () => {
  const past = (days: number) => new Date(Date.now() - days * 86_400_000);
  const expired = await createKeyPair('expired', { notBefore: past(2), notAfter: past(1) });
  const outdated = { ...(await attemptOf('outdated')), target: expired };
  await using target = await startTarget({}, 0, outdated);
  await using client = connectSource(target.server.port, outdated);
  await expect(client.completed(completed)).rejects.toMatchObject({
    code: 'WrongPeer',
    cause: { code: 'CERT_HAS_EXPIRED' },
  });
  expect(target.heard).toEqual([]);
});

test('a target that does not trust this source is not reached', async () => {
  await using target = await startTarget({}, 0, { ...attempt, source: otherAttempt.source });
  await using client = connectSource(target.server.port);
  await expect(client.completed(completed)).rejects.toBeInstanceOf(HandoverUnreachable);
  expect(target.heard).toEqual([]);
  expect(target.server.refused.NotThePeer).toBeGreaterThan(0);
});

test('a target that was restarted is found again, by a call at once', async () => {
  const first = await startTarget();
  const { port } = first.server;
  await using client = connectSource(port);
  await reached(client);
  await first.stop();
  await expect(client.completed(completed)).rejects.toBeInstanceOf(HandoverUnreachable);
  await using second = await startTarget({}, port);
  expect(await client.completed(completed)).toEqual({ verdict: 'TookOver' });
  expect(second.heard).toHaveLength(1);
});

test('a target that comes late is found without a call', async () => {
  const early = await startTarget();
  const { port } = early.server;
  await early.stop();
  await using client = connectSource(port);
  await expect(client.ping()).rejects.toBeInstanceOf(HandoverUnreachable);
  await using _late = await startTarget({}, port);
  await reached(client);
});

test('connections that were reset are replaced within the call', async () => {
  await using target = await startTarget();
  await using proxy = await proxyTo(target.server.port);
  await using client = connectSource(proxy.port);
  await vi.waitFor(() => expect(proxy.accepted).toBe(2), patient);
  await reached(client);
  for (let count = 0; count < 5; count++) {
    proxy.cut();
    expect(await client.completed(completed)).toEqual({ verdict: 'TookOver' });
  }
});

test('a path that swallows everything is given up at the deadline, and a later call takes a new one', async () => {
  await using target = await startTarget();
  await using proxy = await proxyTo(target.server.port);
  await using client = connectSource(proxy.port);
  await vi.waitFor(() => expect(proxy.connections).toBe(2), patient);
  await reached(client);
  const bounds = { timeoutMilliseconds: 100 };
  proxy.swallow();
  await expect(client.completed(completed, bounds)).rejects.toThrow('did not answer completed within 100 ms');
  proxy.open();
  expect(await client.completed(completed)).toEqual({ verdict: 'TookOver' });
  proxy.swallow();
  await expect(client.completed(completed, bounds)).rejects.toBeInstanceOf(HandoverUnreachable);
  // Nor is a new connection answered, and that is bounded as well.
  await expect(client.completed(completed, bounds)).rejects.toBeInstanceOf(HandoverUnreachable);
  proxy.open();
  expect(await client.completed(completed)).toEqual({ verdict: 'TookOver' });
  expect(target.heard).toHaveLength(2);
});

test('pings alone notice such a path, and that it is gone', async () => {
  await using target = await startTarget();
  await using proxy = await proxyTo(target.server.port);
  await using client = connectSource(proxy.port);
  await vi.waitFor(() => expect(proxy.connections).toBe(2), patient);
  await reached(client);
  const { accepted } = proxy;
  proxy.swallow();
  await vi.waitFor(() => expect(proxy.accepted).toBeGreaterThan(accepted), patient);
  const opened = performance.now();
  proxy.open();
  await vi.waitFor(() => expect(client.lastAnswer?.at).toBeGreaterThan(opened), patient);
});

test("a call ends with the reason of its caller's signal, or when the client is closed", async () => {
  await using target = await startTarget({ completed: () => new Promise(() => undefined) });
  const client = connectSource(target.server.port);
  await reached(client);
  const abort = new AbortController();
  const given = client.completed(completed, { signal: abort.signal });
  abort.abort(new Error('enough'));
  await expect(given).rejects.toThrow('enough');
  const closed = expect(client.completed(completed)).rejects.toThrow('closed by this agent');
  await client[Symbol.asyncDispose]();
  await closed;
  await expect(client.ping()).rejects.toBeInstanceOf(HandoverUnreachable);
});

test.each([
  { what: 'a redirection', status: 307, body: '', code: 'InvalidAnswer' },
  { what: 'no JSON', status: 200, body: '<html>', code: 'InvalidAnswer' },
  { what: 'another verdict', status: 200, body: '{"verdict":"Won"}', code: 'InvalidAnswer' },
  { what: 'no end', status: 200, body: `{}${' '.repeat(maxBodyBytes)}`, code: 'InvalidAnswer' },
  { what: 'another error', status: 500, body: '{"code":"Other"}', code: 'InvalidAnswer' },
  { what: 'null', status: 500, body: 'null', code: 'InvalidAnswer' },
  { what: 'a known error', status: 404, body: '{"code":"UnknownCall"}', code: 'UnknownCall' },
])('an answer that is $what is refused', async ({ status, body, code }) => {
  const { certificate: cert, privateKey: key } = attempt.target;
  const paths: (string | undefined)[] = [];
  const server = createHttpsServer({ cert, key, minVersion: 'TLSv1.3' }, (request, response) => {
    paths.push(request.url);
    response.writeHead(status, { location: '/elsewhere' }).end(body);
  });
  server.listen(0, host);
  await once(server, 'listening');
  const client = connectSource((server.address() as AddressInfo).port);
  const refused = await client.completed(completed).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(HandoverRefused);
  expect(refused).toMatchObject({ code });
  expect(paths).not.toContain('/elsewhere');
  await client[Symbol.asyncDispose]();
  server.closeAllConnections();
  server.close();
});

test('one source may speak for several attempts at once, each over its own connections', async () => {
  await using target = await startTarget();
  const heardByOther: string[] = [];
  const { name, target: own, source } = otherAttempt;
  using _other = target.server.admit({
    name,
    own,
    peerCertificate: source.certificate,
    handle: listeningTo(heardByOther, { completed: async () => ({ verdict: 'Gone' }) }),
  });
  await using one = connectSource(target.server.port);
  await using other = connectSource(target.server.port, otherAttempt);
  const answers = await Promise.all([one.completed(completed), other.completed({ resumeTarget: false })]);
  expect(answers).toEqual([{ verdict: 'TookOver' }, { verdict: 'Gone' }]);
  expect(target.heard).toEqual([`completed ${JSON.stringify(completed)}`]);
  expect(heardByOther).toEqual(['completed {"resumeTarget":false}']);
});
