import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { request } from 'node:https';
import { text } from 'node:stream/consumers';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createKeyPair, type KeyPair } from '../../certificates/key-pair.ts';
import { createLogger } from '../../observability/logger.ts';
import type { EvictionRequest } from './admission-review.ts';
import { WebhookServer } from './webhook-server.ts';

let server: WebhookServer;
let own: KeyPair;
let asked: EvictionRequest[] = [];
let answer: (signal: AbortSignal) => Promise<string | undefined>;

beforeEach(async () => {
  asked = [];
  answer = async () => 'Not yet.';
  server = await WebhookServer.listen({
    port: 0,
    logger: createLogger({ name: 'test' }),
    answer: (question, signal) => {
      asked.push(question);
      return answer(signal);
    },
  });
  own = await createKeyPair('webhook', { addresses: ['127.0.0.1'] });
  server.present(own);
});
afterEach(() => server[Symbol.asyncDispose]());

const eviction = { uid: 'u', resource: { resource: 'pods' }, subResource: 'eviction', namespace: 'n', name: 'p' };
const question = JSON.stringify({ request: eviction });

interface Answer {
  status: number | undefined;
  body: string;
  certificate: X509Certificate | undefined;
}

interface Asking {
  path?: string;
  method?: string;
  trusted?: KeyPair;
  /** Closes the connection then. */
  giveUp?: Promise<unknown>;
}

function ask(
  body: string,
  { path = '/evictions', method = 'POST', trusted = own, giveUp }: Asking = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: server.port, path, method, ca: trusted.certificate, agent: false };
    const outgoing = request(options, (response) => {
      const certificate = (response.socket as TLSSocket).getPeerX509Certificate();
      text(response).then((body) => resolve({ status: response.statusCode, body, certificate }), reject);
    });
    outgoing.on('error', reject);
    outgoing.end(body);
    void giveUp?.then(() => outgoing.destroy());
  });
}

test('a question is answered', async () => {
  const { status, body } = await ask(question);
  expect([status, JSON.parse(body)]).toMatchObject([
    200,
    { response: { uid: 'u', allowed: false, status: { code: 429 } } },
  ]);
  expect(asked).toEqual([{ uid: 'u', namespace: 'n', name: 'p', dryRun: false }]);
});

test.each([
  ['another path', 404, question, { path: '/' }],
  ['another method', 405, '', { method: 'PUT' }],
  ['no JSON', 400, '{', {}],
  ['no question', 400, '{}', {}],
])('%s asks nothing', async (_, status, body, options) => {
  expect((await ask(body, options)).status).toBe(status);
  expect(asked).toEqual([]);
});

test('what is too long is not read to its end', async () => {
  const answered = await ask(`${question}${' '.repeat(1024 * 1024)}`).catch((error: unknown) => error);
  if (answered instanceof Error) expect(answered).toMatchObject({ code: expect.stringMatching(/EPIPE|ECONNRESET/) });
  else expect(answered).toMatchObject({ status: 400 });
  expect(asked).toEqual([]);
});

test('an answer that cannot be found is none, and the next question is answered', async () => {
  answer = () => Promise.reject(new Error('on purpose'));
  expect((await ask(question)).status).toBe(500);
  answer = async () => undefined;
  expect(JSON.parse((await ask(question)).body)).toMatchObject({ response: { allowed: true } });
});

test('what is done about a question ends with the one who asks', async () => {
  const { promise: begun, resolve: begin } = Promise.withResolvers<AbortSignal>();
  answer = (signal) =>
    new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
      begin(signal);
    });
  const asking = ask(question, { giveUp: begun });
  await expect(asking).rejects.toThrow();
  const signal = await begun;
  if (!signal.aborted) await once(signal, 'abort');
  expect(signal.reason).toMatchObject({ message: 'nobody waits for the answer any more' });
});

test('a new certificate is presented to new connections', async () => {
  const next = await createKeyPair('webhook', { addresses: ['127.0.0.1'] });
  server.present(next);
  await expect(ask(question)).rejects.toMatchObject({ code: expect.stringContaining('SELF_SIGNED') });
  const { certificate } = await ask(question, { trusted: next });
  expect(certificate?.raw).toEqual(new X509Certificate(next.certificate).raw);
});
