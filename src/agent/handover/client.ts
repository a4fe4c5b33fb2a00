import type { IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';
import type { TLSSocket } from 'node:tls';
import type { KeyPair } from '../../certificates/key-pair.ts';
import { readJson, UnreadableBody } from '../../http/read-json.ts';
import { Deadline } from '../../kube/deadline.ts';
import type { Logger } from '../../observability/logger.ts';
import { type HandoverRefusalCode, HandoverRefused, HandoverUnreachable } from './errors.ts';
import {
  type CompletedMessage,
  type HandoverCalls,
  handoverCalls,
  maxBodyBytes,
  maxTextLength,
  type PingAnswer,
  type RefuseMessage,
  type VerdictAnswer,
} from './messages.ts';
import { pinPeer, protocolOptions } from './pinned-peer.ts';

export interface HandoverClientOptions {
  /** The attempt's stamp. */
  readonly name: string;
  /** The target's agent. */
  readonly host: string;
  readonly port: number;
  readonly own: KeyPair;
  /** The target agent's, in PEM. */
  readonly peerCertificate: string;
  readonly logger: Logger;
}

export interface CallBounds {
  /** The whole call, a new connection included; a second when absent. Longer than the target may take (`answerWithinMilliseconds`). */
  readonly timeoutMilliseconds?: number;
  readonly signal?: AbortSignal;
}

const callTimeoutMilliseconds = 1_000;
/** Often enough to keep connections and compiled code hot, and to know whether the path works. */
const pingEveryMilliseconds = 1_000;
const firstBackoffMilliseconds = 100;
/** One may carry a ping that waits for a QEMU just when the source has to tell. They take turns, which keeps both hot. */
const warmConnections = 2;

/**
 * The source side's end of the handover, for one attempt. It opens connections at once, pings over them every second, and opens
 * new ones for as long as it lives. Calls reject with `HandoverUnreachable`, `HandoverRefused` or the reason of the caller's signal.
 */
export class HandoverClient implements AsyncDisposable {
  readonly #options: HandoverClientOptions;
  readonly #logger: Logger;
  readonly #agent: Agent;
  readonly #closing = new AbortController();
  readonly #handlers = new Set<(answer: PingAnswer) => void>();
  readonly #pinging: Promise<void>;
  #callsUnderWay = 0;
  #lastAnswer: { readonly at: number; readonly answer: PingAnswer } | undefined;

  /** @throws HandoverCertificateInvalid */
  constructor(options: HandoverClientOptions) {
    const { context, isPeer } = pinPeer(options.own, options.peerCertificate);
    this.#options = options;
    this.#logger = options.logger.child({ attempt: options.name });
    this.#agent = new Agent({
      ...protocolOptions,
      keepAlive: true,
      scheduling: 'fifo',
      maxFreeSockets: warmConnections,
      maxCachedSessions: 0,
      servername: options.name,
      secureContext: context,
      // Asked after OpenSSL's own verification. The very certificate says more than the names in it.
      checkServerIdentity: (_name, certificate) =>
        isPeer(certificate) ? undefined : new Error('the certificate is not the one of the target'),
    });
    this.#pinging = this.#pingForEver();
  }

  /** The last answer to a ping, and the `performance.now()` of its arrival. */
  get lastAnswer(): { readonly at: number; readonly answer: PingAnswer } | undefined {
    return this.#lastAnswer;
  }

  /** Calls the handler when an answer to a ping says something else than the one before. @returns what ends that */
  onAnswer(handler: (answer: PingAnswer) => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  async ping(bounds: CallBounds = {}): Promise<PingAnswer> {
    const answer = await this.#call('ping', {}, bounds);
    const previous = this.#lastAnswer?.answer;
    this.#lastAnswer = { at: performance.now(), answer };
    if (previous?.qemu !== answer.qemu || previous.verdict !== answer.verdict) this.#announce(answer);
    return answer;
  }

  /** Without a verdict in the answer the target has none yet: ask again. */
  completed(message: CompletedMessage, bounds: CallBounds = {}): Promise<VerdictAnswer> {
    return this.#call('completed', message, bounds);
  }

  /** Without a verdict in the answer the target has none yet: ask again. A long text is cut. */
  refuse({ reason, message }: RefuseMessage, bounds: CallBounds = {}): Promise<VerdictAnswer> {
    return this.#call('refuse', { reason, message: message.slice(0, maxTextLength) }, bounds);
  }

  /** Ends what is under way and closes the connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new HandoverUnreachable('the connection to the target was closed by this agent'));
    await this.#pinging;
    this.#agent.destroy();
  }

  async #pingForEver(): Promise<void> {
    const { signal } = this.#closing;
    let backoff = firstBackoffMilliseconds;
    let reached: boolean | undefined;
    while (!signal.aborted) {
      // Another call tells as much about the path, and is in a greater hurry.
      if (this.#callsUnderWay === 0) {
        const failure = await this.#pingOnce();
        if (signal.aborted) return;
        if (reached !== (failure === undefined)) {
          reached = failure === undefined;
          this.#logger.info({ err: failure }, reached ? 'the target answers' : 'the target does not answer');
        }
      }
      await delay(reached ? pingEveryMilliseconds : backoff, undefined, { signal }).catch(() => undefined);
      backoff = reached ? firstBackoffMilliseconds : Math.min(2 * backoff, pingEveryMilliseconds);
    }
  }

  /** Over every connection that has to be opened, or over the next in turn. @returns why no answer came, if none did */
  async #pingOnce(): Promise<unknown> {
    const missing = warmConnections - this.#idleConnections().length;
    const results = await Promise.allSettled(Array.from({ length: Math.max(missing, 1) }, () => this.ping()));
    return results.every(({ status }) => status === 'rejected') ? Object(results[0]).reason : undefined;
  }

  #announce(answer: PingAnswer): void {
    for (const handler of this.#handlers) {
      try {
        handler(answer);
      } catch (error) {
        this.#logger.error({ err: error }, 'what was heard from the target could not be handled');
      }
    }
  }

  #idleConnections(): { destroy(): void }[] {
    return Object.values(this.#agent.freeSockets).flatMap((sockets) => sockets ?? []);
  }

  async #call<K extends keyof HandoverCalls>(
    name: K,
    message: HandoverCalls[K]['message'],
    { timeoutMilliseconds = callTimeoutMilliseconds, signal: callers }: CallBounds,
  ): Promise<HandoverCalls[K]['answer']> {
    using deadline = new Deadline([callers, this.#closing.signal]);
    const { signal } = deadline.restart(timeoutMilliseconds, () => {
      // The other connections take the same path, and nobody would notice before the next call.
      for (const connection of this.#idleConnections()) connection.destroy();
      return new HandoverUnreachable(`the target did not answer ${name} within ${timeoutMilliseconds} ms`);
    });
    this.#callsUnderWay++;
    try {
      signal.throwIfAborted();
      return await this.#send(name, message, signal);
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw error;
    } finally {
      this.#callsUnderWay--;
    }
  }

  async #send<K extends keyof HandoverCalls>(
    name: K,
    message: HandoverCalls[K]['message'],
    signal: AbortSignal,
  ): Promise<HandoverCalls[K]['answer']> {
    const { path, readAnswer } = handoverCalls[name];
    const response = await this.#post(path, JSON.stringify(message), signal);
    const body = await readJson(response, maxBodyBytes).catch((error) => {
      if (error instanceof UnreadableBody) throw new HandoverRefused('InvalidAnswer', error.message, { cause: error });
      throw unreachable(error);
    });
    if (response.statusCode !== 200) throw refusalOf(name, response.statusCode, body);
    const answer = readAnswer(body);
    if (answer === undefined) throw new HandoverRefused('InvalidAnswer', `the target's answer is none to ${name}`);
    return answer;
  }

  /** Resolves with the head of the answer. */
  #post(path: string, body: string, signal: AbortSignal): Promise<IncomingMessage> {
    const { host, port } = this.#options;
    return new Promise((resolve, reject) => {
      const request = httpsRequest({
        agent: this.#agent,
        signal,
        host,
        port,
        path,
        method: 'POST',
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
      });
      request.setNoDelay(true);
      let answered = false;
      request.once('response', (response) => {
        answered = true;
        resolve(response);
      });
      // Not `once`: a connection may break again after the answer's head came, and that is reported by the answer's body.
      request.on('error', (error) => {
        const socket = request.socket as TLSSocket | null;
        if (socket?.authorizationError) {
          const message = `the target's agent does not have the attempt's certificate: ${error.message}`;
          reject(new HandoverRefused('WrongPeer', message, { cause: error }));
        } else if (request.reusedSocket && !answered && !signal.aborted) {
          // The target closed the connection as this was written, or was restarted. A call may arrive twice.
          resolve(this.#post(path, body, signal));
        } else {
          reject(unreachable(error));
        }
      });
      request.end(body);
    });
  }
}

function unreachable(error: Error): HandoverUnreachable {
  return new HandoverUnreachable(`the target's agent cannot be reached: ${error.message}`, { cause: error });
}

const refusalCodes: readonly HandoverRefusalCode[] = ['InvalidMessage', 'UnknownCall', 'Busy', 'Failed'];

function refusalOf(call: string, status: number | undefined, body: unknown): HandoverRefused {
  const { code } = (body ?? {}) as { code?: unknown };
  const known = refusalCodes.find((each) => each === code) ?? 'InvalidAnswer';
  return new HandoverRefused(known, `the target refused ${call}: ${known} (${status})`);
}
