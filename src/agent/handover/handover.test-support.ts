/** Two attempts with the certificates of both their sides, a server, and clients that say what they should not. */
import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { createKeyPair, type KeyPair } from '../../certificates/key-pair.ts';
import { attemptStamp } from '../../migration/attempt.ts';
import { createLogger } from '../../observability/logger.ts';
import { handoverCalls } from './messages.ts';
import { type HandoverHandle, HandoverServer } from './server.ts';

export const host = '127.0.0.1';
export const logger = createLogger({ name: 'test' });
logger.level = process.env.LOG_LEVEL ?? 'silent';

export interface Attempt {
  readonly name: string;
  readonly source: KeyPair;
  readonly target: KeyPair;
}

export async function attemptOf(migrationUID: string, source?: KeyPair): Promise<Attempt> {
  const name = attemptStamp(migrationUID, 1);
  return { name, source: source ?? (await createKeyPair(name)), target: await createKeyPair(name) };
}

export const migrationUID = '0f8fad5b-d9cb-469f-a165-70867728950e';
export const attempt = await attemptOf(migrationUID);
export const otherAttempt = await attemptOf('7c9e6679-7425-40de-944b-e07fc1f90ae7');

/** Notes what it hears, and answers as the test says, else as a target that waits and then takes over. */
export function listeningTo(heard: string[], answers: Partial<HandoverHandle> = {}): HandoverHandle {
  const handle: HandoverHandle = {
    ping: async () => ({ qemu: 'waiting' }),
    completed: async () => ({ verdict: 'TookOver' }),
    refuse: async () => ({ verdict: 'Refused' }),
    ...answers,
  };
  return {
    ping: (message, signal) => handle.ping(message, signal),
    completed: (message, signal) => {
      heard.push(`completed ${JSON.stringify(message)}`);
      return handle.completed(message, signal);
    },
    refuse: (message, signal) => {
      heard.push(`refuse ${JSON.stringify(message)}`);
      return handle.refuse(message, signal);
    },
  };
}

/** A server that serves `attempt`, and what its target hears. */
export async function startTarget(answers: Partial<HandoverHandle> = {}, port = 0, served = attempt) {
  const server = await HandoverServer.listen({ host, port, logger });
  const heard: string[] = [];
  const { name, target: own, source } = served;
  const handle = listeningTo(heard, answers);
  const admission = server.admit({ name, own, peerCertificate: source.certificate, handle });
  const stop = () => server[Symbol.asyncDispose]();
  return { server, heard, admission, stop, [Symbol.asyncDispose]: stop };
}

/** What a client presents and asks for; `attempt`'s source when nothing else is said. */
export function tlsOptions(port: number, differently: ConnectionOptions = {}): ConnectionOptions {
  const { certificate: cert, privateKey: key } = attempt.source;
  return { host, port, servername: attempt.name, cert, key, rejectUnauthorized: false, ...differently };
}

export function request(text: string, { path = handoverCalls.completed.path, headers = '' } = {}): string {
  return `POST ${path} HTTP/1.1\r\nhost: a\r\n${headers}content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
}

export const completedRequest = request('{"resumeTarget":true}');

/** Sends the text as soon as may be, over TLS together with the end of the handshake, or plain. @returns everything that came until the server closed the connection */
export async function converse(options: ConnectionOptions, text: string, { plain = false } = {}): Promise<string> {
  const socket = plain ? connectTcp({ host, port: Number(options.port) }) : connectTls(options);
  // What becomes of it shows in what came back.
  socket.on('error', () => undefined);
  socket.write(text);
  let heard = '';
  socket.setEncoding('utf8').on('data', (chunk) => {
    heard += chunk;
  });
  await new Promise((resolve) => socket.once('close', resolve));
  return heard;
}

/** The right peer's: its status and answer. */
export async function tell(port: number, text = '{"resumeTarget":true}', differently: ConnectionOptions = {}) {
  const closing = request(text, { headers: 'connection: close\r\n' });
  const answer = await converse(tlsOptions(port, differently), closing);
  const [head = '', body = ''] = answer.split('\r\n\r\n');
  return `${head.split(' ')[1]} ${body}`;
}

export async function connected<S extends Socket | TLSSocket>(
  socket: S,
  event: 'connect' | 'secureConnect',
): Promise<S> {
  socket.on('error', () => undefined);
  await once(socket, event);
  return socket;
}
