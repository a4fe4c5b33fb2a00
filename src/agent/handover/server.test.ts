import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { expect, test, vi } from 'vitest';
import { createKeyPair } from '../../certificates/key-pair.ts';
import {
  attempt,
  attemptOf,
  completedRequest,
  connected,
  converse,
  host,
  listeningTo,
  logger,
  otherAttempt,
  request,
  startTarget,
  tell,
  tlsOptions,
} from './handover.test-support.ts';
import { answerWithinMilliseconds, handoverCalls, maxBodyBytes } from './messages.ts';
import { HandoverServer } from './server.ts';

const tookOver = '200 {"verdict":"TookOver"}';
const told = 'completed {"resumeTarget":true}';
const day = 86_400_000;
const untilPast = { notBefore: new Date(Date.now() - 2 * day), notAfter: new Date(Date.now() - day) };
const fromFuture = { notBefore: new Date(Date.now() + day), notAfter: new Date(Date.now() + 2 * day) };
const identity = ({ certificate: cert, privateKey: key }: { certificate: string; privateKey: string }) => ({
  cert,
  key,
});

const stranger = await createKeyPair(attempt.name);

test.each([
  { who: 'a client without a certificate', differently: { cert: undefined, key: undefined }, refusal: 'NotThePeer' },
  { who: "a third party with the peer's name", differently: identity(stranger), refusal: 'NotThePeer' },
  { who: 'the peer of another attempt', differently: identity(otherAttempt.source), refusal: 'NotThePeer' },
  { who: "the target's own certificate", differently: identity(attempt.target), refusal: 'NotThePeer' },
  { who: 'a name of no attempt', differently: { servername: 'm-none-1.vmferry.invalid' }, refusal: 'UnknownName' },
  { who: 'no name', differently: { servername: '' }, refusal: 'Handshake' },
  { who: 'TLS 1.2', differently: { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' }, refusal: 'Handshake' },
  { who: 'plain text', differently: {}, plain: true, refusal: 'Handshake' },
] as const)('$who is refused before anything is handled, and harms nobody', async (given) => {
  await using target = await startTarget();
  const { server, heard } = target;
  using _other = server.admit({
    name: otherAttempt.name,
    own: otherAttempt.target,
    peerCertificate: otherAttempt.source.certificate,
    handle: listeningTo(heard),
  });
  const steady = await connected(connectTls(tlsOptions(server.port)), 'secureConnect');
  const answer = await converse(tlsOptions(server.port, given.differently as object), completedRequest, {
    plain: 'plain' in given,
  });
  expect(answer).not.toContain('HTTP/1.1 200');
  await vi.waitFor(() => expect(server.refused[given.refusal]).toBe(1));
  expect(heard).toEqual([]);
  steady.write(completedRequest);
  await once(steady, 'data');
  steady.destroy();
  expect(await tell(server.port)).toBe(tookOver);
  expect(heard).toEqual([told, told]);
});

test.each([
  { when: 'has expired', validity: untilPast },
  { when: 'is not valid yet', validity: fromFuture },
])("the peer's own certificate is refused when it $when", async ({ validity }) => {
  const outdated = await attemptOf('outdated', await createKeyPair('outdated', validity));
  await using target = await startTarget({}, 0, outdated);
  const as = { servername: outdated.name, ...identity(outdated.source) };
  expect(await converse(tlsOptions(target.server.port, as), completedRequest)).toBe('');
  expect(target.heard).toEqual([]);
  expect(target.server.refused.NotThePeer).toBe(1);
});

test('a call concerns the attempt of its connection, whatever it claims', async () => {
  await using target = await startTarget();
  const { server, heard } = target;
  const heardByOther: string[] = [];
  const { name, target: own, source } = otherAttempt;
  using _other = server.admit({
    name,
    own,
    peerCertificate: source.certificate,
    handle: listeningTo(heardByOther),
  });
  const body = '{"resumeTarget":true}';
  const length = `content-length: ${body.length}`;
  const { path } = handoverCalls.completed;
  const claims = [
    `POST ${path} HTTP/1.1\r\nhost: ${name}\r\nx-forwarded-host: ${name}\r\n${length}\r\n\r\n${body}`,
    `POST https://${name}${path} HTTP/1.1\r\nhost: ${name}\r\n${length}\r\n\r\n${body}`,
    `POST ${path}/${name} HTTP/1.1\r\nhost: ${name}\r\n${length}\r\n\r\n${body}`,
    `POST ${path} HTTP/1.1\r\nhost: ${name}\r\nconnection: close\r\n${length}\r\n\r\n${body}`,
  ];
  const answers = await converse(tlsOptions(server.port), claims.join(''));
  expect(answers.match(/HTTP\/1.1 \d+/g)).toEqual(['HTTP/1.1 200', 'HTTP/1.1 404', 'HTTP/1.1 404', 'HTTP/1.1 200']);
  expect(heard).toEqual([told, told]);
  expect(heardByOther).toEqual([]);
  expect(await tell(server.port, undefined, { servername: name, ...identity(source) })).toBe(tookOver);
  expect(heardByOther).toEqual([told]);
});

test('every connection proves anew who it is: no session is taken up again', async () => {
  await using target = await startTarget();
  const options = tlsOptions(target.server.port);
  const first = connectTls(options);
  const sessions: Buffer[] = [];
  first.on('session', (session) => sessions.push(session));
  await connected(first, 'secureConnect');
  first.write(completedRequest);
  await once(first, 'data');
  const session = sessions.at(-1) ?? first.getSession();
  first.destroy();
  const again = await connected(connectTls({ ...options, session }), 'secureConnect');
  expect(again.isSessionReused()).toBe(false);
  again.destroy();
  expect(await tell(target.server.port, undefined, { session, cert: '', key: '' })).not.toContain('200');
  expect(target.heard).toEqual([told]);
});

test('silent clients and halves of handshakes hold up nobody, and do not gather', async () => {
  await using target = await startTarget();
  const { server } = target;
  const silent = await Promise.all(
    Array.from({ length: 60 }, () => connected(connectTcp({ host, port: server.port }), 'connect')),
  );
  const halves = await Promise.all(
    Array.from({ length: 60 }, () => connected(connectTcp({ host, port: server.port }), 'connect')),
  );
  // A record of 512 bytes is announced, and its first bytes are sent.
  for (const half of halves) half.write(Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252]));
  expect(await tell(server.port)).toBe(tookOver);
  const all = [...silent, ...halves];
  // Those that came first have gone.
  await vi.waitFor(() => expect(all.filter(({ closed }) => closed).length).toBeGreaterThanOrEqual(56));
  expect(silent[0]?.closed).toBe(true);
  expect(await tell(server.port)).toBe(tookOver);
  for (const socket of all) socket.destroy();
});

test('an attempt has at most eight connections: the oldest goes', async () => {
  await using target = await startTarget();
  const connections: TLSSocket[] = [];
  for (let count = 0; count < 9; count++) {
    const socket = await connected(connectTls(tlsOptions(target.server.port)), 'secureConnect');
    socket.write(completedRequest);
    await once(socket, 'data');
    connections.push(socket);
  }
  await vi.waitFor(() => expect(connections.map(({ closed }) => closed).indexOf(false)).toBe(1));
  for (const socket of connections) socket.destroy();
});

test('an attempt that is not served any more is cut off, and may be admitted again', async () => {
  await using target = await startTarget();
  const { server } = target;
  const socket = await connected(connectTls(tlsOptions(server.port)), 'secureConnect');
  socket.write(completedRequest);
  await once(socket, 'data');
  target.admission[Symbol.dispose]();
  await vi.waitFor(() => expect(socket.closed).toBe(true));
  expect(await converse(tlsOptions(server.port), completedRequest)).toBe('');
  expect(server.refused.UnknownName).toBe(1);
  const { name, target: own, source } = attempt;
  const admission = { name, own, peerCertificate: source.certificate, handle: listeningTo([]) };
  using _again = server.admit(admission);
  // What was disposed of twice takes nothing from its successor.
  target.admission[Symbol.dispose]();
  expect(await tell(server.port)).toBe(tookOver);
  expect(() => server.admit(admission)).toThrow('admitted already');
});

test.each([
  { what: 'no certificate', own: attempt.target, peerCertificate: 'nonsense' },
  { what: "a key of another's", own: { ...attempt.target, privateKey: stranger.privateKey }, peerCertificate: '' },
])('$what is an error of who admits it', async ({ own, peerCertificate }) => {
  await using target = await startTarget();
  const admission = {
    name: 'm-other-1.vmferry.invalid',
    own,
    peerCertificate: peerCertificate || stranger.certificate,
    handle: listeningTo([]),
  };
  expect(() => target.server.admit(admission)).toThrow(expect.objectContaining({ code: 'HandoverCertificateInvalid' }));
  expect(await tell(target.server.port)).toBe(tookOver);
});

test.each([
  { what: 'no JSON', text: '{"resumeTarget":true', answer: '' },
  { what: 'more than a body may be', text: `{"resumeTarget":true}${' '.repeat(maxBodyBytes)}`, answer: '' },
  { what: 'no object', text: '[]', answer: '400' },
  { what: 'a field that is missing', text: '{}', answer: '400' },
  { what: 'a field of another type', text: '{"resumeTarget":"yes"}', answer: '400' },
  { what: 'a field too many', text: '{"resumeTarget":true,"attempt":2}', answer: '400' },
  { what: 'no HTTP', raw: 'nonsense\r\n\r\n', text: '', answer: '' },
  { what: 'headers without end', raw: `POST / HTTP/1.1\r\na: ${'b'.repeat(10_000)}`, text: '', answer: '' },
])('$what is refused, and the same peer works afterwards', async ({ text, raw, answer }) => {
  await using target = await startTarget();
  const { port, refused } = target.server;
  const closing = request(text, { headers: 'connection: close\r\n' });
  const heardBack = await converse(tlsOptions(port), raw ?? closing);
  expect(heardBack.split(' ')[1] ?? '').toBe(answer);
  expect(refused.Malformed).toBe(answer === '' ? 1 : 0);
  expect(target.heard).toEqual([]);
  expect(await tell(port)).toBe(tookOver);
});

test('a body that never ends in chunks is cut off', async () => {
  await using target = await startTarget();
  const socket = await connected(connectTls(tlsOptions(target.server.port)), 'secureConnect');
  socket.write(`POST ${handoverCalls.completed.path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n`);
  const chunks = setInterval(() => socket.write(`400\r\n${' '.repeat(1024)}\r\n`), 5);
  await once(socket, 'close');
  clearInterval(chunks);
  expect(target.heard).toEqual([]);
  expect(target.server.refused.Malformed).toBe(1);
});

test('no verdict in time is an answer, and the handler is told that it is late', async () => {
  const reasons: unknown[] = [];
  await using target = await startTarget({
    completed: (_message, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reasons.push(signal.reason);
          reject(signal.reason);
        });
      }),
    refuse: () => new Promise(() => undefined),
    ping: () => new Promise(() => undefined),
  });
  const { port } = target.server;
  const asked = performance.now();
  expect(await tell(port)).toBe('200 {}');
  expect(performance.now() - asked).toBeGreaterThanOrEqual(answerWithinMilliseconds - 5);
  expect(reasons).toEqual([expect.objectContaining({ message: 'the answer to completed is due' })]);
  const closing = { headers: 'connection: close\r\n' };
  const refusing = request('{"reason":"Frozen","message":""}', { ...closing, path: handoverCalls.refuse.path });
  expect(await converse(tlsOptions(port), refusing)).toContain('\r\n\r\n{}');
  const ping = request('{}', { ...closing, path: handoverCalls.ping.path });
  expect(await converse(tlsOptions(port), ping)).toContain('"code":"Busy"');
});

test('a caller that goes away is told to the handler', async () => {
  let called: AbortSignal | undefined;
  await using target = await startTarget({
    completed: (_message, signal) => {
      called = signal;
      return new Promise(() => undefined);
    },
  });
  const socket = await connected(connectTls(tlsOptions(target.server.port)), 'secureConnect');
  socket.write(completedRequest);
  await vi.waitFor(() => expect(called).toBeDefined());
  socket.destroy();
  await vi.waitFor(() => expect(called?.reason).toMatchObject({ message: 'the caller has gone' }));
});

test('a handler that fails is an answer, and the next call is tried again', async () => {
  let calls = 0;
  await using target = await startTarget({
    completed: async () => {
      if (++calls === 1) throw new Error('the disk is full');
      return { verdict: 'TookOver' };
    },
  });
  expect(await tell(target.server.port)).toBe('500 {"code":"Failed","message":"completed failed"}');
  expect(await tell(target.server.port)).toBe(tookOver);
});

test('more than eight calls of an attempt at once are refused, the others are answered', async () => {
  const answer = Promise.withResolvers<object>();
  await using target = await startTarget({ completed: () => answer.promise });
  const { server, heard } = target;
  // One after the other without waiting for answers, which come in the order of the calls.
  const last = request('{"resumeTarget":true}', { headers: 'connection: close\r\n' });
  const answers = converse(tlsOptions(server.port), completedRequest.repeat(8) + last);
  await vi.waitFor(() => expect(heard).toHaveLength(8));
  answer.resolve({});
  const statuses = (await answers).match(/HTTP\/1.1 \d+/g);
  expect(statuses).toEqual([...Array.from({ length: 8 }, () => 'HTTP/1.1 200'), 'HTTP/1.1 503']);
  expect(heard).toHaveLength(8);
});

test('a taken port is an error', async () => {
  await using target = await startTarget();
  const taken = HandoverServer.listen({ host, port: target.server.port, logger });
  await expect(taken).rejects.toMatchObject({ code: 'EADDRINUSE' });
});
