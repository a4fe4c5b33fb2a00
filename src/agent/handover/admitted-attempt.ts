import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import type { KeyPair } from '../../certificates/key-pair.ts';
import { readJson, UnreadableBody } from '../../http/read-json.ts';
import { Deadline } from '../../kube/deadline.ts';
import type { Logger } from '../../observability/logger.ts';
import type { HandoverRefusalCode } from './errors.ts';
import { answerWithinMilliseconds, type HandoverCalls, handoverCalls, maxBodyBytes } from './messages.ts';
import { type PinnedPeer, pinPeer } from './pinned-peer.ts';

/**
 * What the target's agent does when the source's calls; each call may come twice. The signal aborts when the answer is due
 * (`answerWithinMilliseconds`), when the caller has gone or when the attempt is not served any more. `completed` and `refuse` may
 * just wait for their verdict: without one in time the caller is told that there is none yet. `ping` has to say `silent` before:
 * without its answer the caller knows nothing.
 */
export type HandoverHandle = {
  readonly [K in keyof HandoverCalls]: (
    message: HandoverCalls[K]['message'],
    signal: AbortSignal,
  ) => Promise<HandoverCalls[K]['answer']>;
};

/** A client has two, and leaves dead ones behind when the network fails; the oldest go. */
const maxConnections = 8;
const maxCallsAtOnce = 8;

const httpStatus = {
  InvalidMessage: 400,
  UnknownCall: 404,
  Failed: 500,
  Busy: 503,
} as const satisfies Partial<Record<HandoverRefusalCode, number>>;

/** One attempt at the server: who may speak for it, over which connections, and who answers. */
export class AdmittedAttempt implements Disposable {
  readonly name: string;
  readonly #pinned: PinnedPeer;
  readonly #handle: HandoverHandle;
  readonly #logger: Logger;
  readonly #withdrawn = new AbortController();
  readonly #connections = new Set<Socket>();
  #callsUnderWay = 0;

  /** @throws HandoverCertificateInvalid */
  constructor(options: {
    readonly name: string;
    readonly own: KeyPair;
    readonly peerCertificate: string;
    readonly handle: HandoverHandle;
    readonly logger: Logger;
  }) {
    this.name = options.name;
    this.#pinned = pinPeer(options.own, options.peerCertificate);
    this.#handle = options.handle;
    this.#logger = options.logger.child({ attempt: options.name });
  }

  get context(): SecureContext {
    return this.#pinned.context;
  }

  isPeer(certificate: { readonly raw: Buffer } | undefined): boolean {
    return this.#pinned.isPeer(certificate);
  }

  /** Takes a connection of the peer. */
  attach(socket: Socket): void {
    this.#connections.add(socket);
    socket.once('close', () => this.#connections.delete(socket));
    if (this.#connections.size <= maxConnections) return;
    const [oldest] = this.#connections;
    oldest?.destroy();
  }

  /** @throws UnreadableBody when the request is none of this protocol; its connection cannot be used any more. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const name = callAt(request);
    if (name === undefined) return refuse(response, 'UnknownCall', `there is no ${request.method} ${request.url}`);
    const message = await this.#read(name, request);
    if (message === undefined) return refuse(response, 'InvalidMessage', `this is no message of ${name}`);
    if (message === 'incomplete') return;
    if (this.#callsUnderWay >= maxCallsAtOnce) return refuse(response, 'Busy', 'too many calls at once');
    this.#callsUnderWay++;
    try {
      const answer = await this.#call(name, message, response);
      if (answer === undefined) refuse(response, 'Busy', `no answer to ${name} in time`);
      else send(response, 200, answer);
    } catch (error) {
      this.#logger.error({ err: error, call: name }, 'a call of the source could not be answered');
      refuse(response, 'Failed', `${name} failed`);
    } finally {
      this.#callsUnderWay--;
    }
  }

  [Symbol.dispose](): void {
    this.#withdrawn.abort(new Error(`${this.name} is not served any more`));
    for (const socket of this.#connections) socket.destroy();
  }

  async #read<K extends keyof HandoverCalls>(name: K, request: IncomingMessage) {
    try {
      return handoverCalls[name].readMessage(await readJson(request, maxBodyBytes));
    } catch (error) {
      if (error instanceof UnreadableBody) throw error;
      return 'incomplete';
    }
  }

  /** Resolves with undefined when there is no answer in time. */
  async #call<K extends keyof HandoverCalls>(
    name: K,
    message: HandoverCalls[K]['message'],
    response: ServerResponse,
  ): Promise<HandoverCalls[K]['answer'] | undefined> {
    const callerGone = new AbortController();
    response.once('close', () => callerGone.abort(new Error('the caller has gone')));
    using deadline = new Deadline([callerGone.signal, this.#withdrawn.signal]);
    const { signal } = deadline.restart(answerWithinMilliseconds, () => new Error(`the answer to ${name} is due`));
    const tooLate = new Promise<'too late'>((resolve) => {
      signal.addEventListener('abort', () => resolve('too late'), { once: true });
    });
    try {
      const answer = await Promise.race([this.#handle[name](message, signal), tooLate]);
      return answer === 'too late' ? handoverCalls[name].lateAnswer : answer;
    } catch (error) {
      // A handler that gives up because it was told to has not failed.
      if (signal.aborted) return handoverCalls[name].lateAnswer;
      throw error;
    }
  }
}

function callAt({ method, url }: IncomingMessage): keyof HandoverCalls | undefined {
  if (method !== 'POST') return undefined;
  const names = Object.keys(handoverCalls) as (keyof HandoverCalls)[];
  return names.find((name) => handoverCalls[name].path === url);
}

function refuse(response: ServerResponse, code: keyof typeof httpStatus, message: string): void {
  send(response, httpStatus[code], { code, message });
}

function send(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}
