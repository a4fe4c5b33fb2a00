import type { IncomingMessage } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';
import { CredentialSource } from './credentials.ts';
import { Deadline } from './deadline.ts';
import { ApiError, type Status } from './errors.ts';
import type { KubeConfig } from './kube-config.ts';

export { type KubeConfig, loadKubeConfig } from './kube-config.ts';

export interface TransportOptions {
  /** Bound on a whole call in milliseconds, waits and repetitions included; 10,000 when absent. */
  readonly requestTimeoutMilliseconds?: number;
  /** What the API server logs; the part before the first slash names the writer in managedFields. */
  readonly userAgent?: string;
  /** Called for every answer, with its HTTP status, or 0 when none came. A watch counts once, when it opens. */
  readonly onRequest?: (method: string, resourcePlural: string, status: number) => void;
}

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Below the server's own address, with a leading slash and without a query. */
  readonly path: string;
  readonly query?: URLSearchParams;
  readonly body?: object;
  /** Of the body; `application/json` when absent. */
  readonly contentType?: string;
  /** For counting only. */
  readonly resourcePlural: string;
  readonly signal?: AbortSignal | undefined;
}

/** Simultaneous calls; further ones wait. Watches do not count: each has a connection of its own. */
const maxConnections = 8;
/** The API server closes an idle connection after 90 s, load balancers after 60: be the first, to never write on a dying one. */
const idleConnectionMilliseconds = 50_000;
/** Of one call, when the API server says that it is too busy. */
const maxTries = 4;
/** Of an answer that is no Status, in the error's message. */
const maxErrorTextLength = 500;

/**
 * HTTP/1.1 to one API server over a few connections that stay open. A connection carries one call at a time, so that a slow call
 * holds up none but itself. Everything rejects with `ApiError`, or with the reason of the caller's own signal.
 */
export class KubeTransport implements AsyncDisposable {
  readonly config: KubeConfig;
  readonly #options: TransportOptions;
  readonly #base: URL;
  readonly #credentials: CredentialSource;
  readonly #calls = new Agent({
    keepAlive: true,
    maxSockets: maxConnections,
    scheduling: 'lifo',
    timeout: idleConnectionMilliseconds,
  });
  readonly #streams = new Agent({ keepAlive: false });
  readonly #closing = new AbortController();
  #lastAnswerAt = Number.NEGATIVE_INFINITY;

  constructor(config: KubeConfig, options: TransportOptions = {}) {
    this.config = config;
    this.#options = options;
    this.#base = new URL(config.server);
    this.#credentials = new CredentialSource(config);
    if (this.#base.protocol !== 'https:') throw new Error(`${config.server}: the API server must be reached by https`);
  }

  /**
   * When the API server last gave an answer that is not about its own trouble, or a watch delivered something: `performance.now()`
   * of that moment, minus infinity before the first.
   */
  lastAnswerAt(): number {
    return this.#lastAnswerAt;
  }

  /** One call, to the end of its answer. Refused as too busy with a Retry-After, it is repeated as long as the deadline allows. */
  async request<R>(call: ApiRequest): Promise<R> {
    using deadline = this.#deadline(call);
    for (let tries = 1; ; tries++) {
      const response = await this.#send(call, this.#calls, deadline.signal);
      const text = await readAll(call, response, deadline.signal);
      if (isSuccess(response)) return parseJson(call, text) as R;
      const error = refusal(response, text);
      const wait = (error.retryAfterSeconds ?? Number.POSITIVE_INFINITY) * 1000;
      const mayRepeat = (error.status === 429 || error.status === 503) && tries < maxTries;
      if (!mayRepeat || wait >= deadline.remaining()) throw error;
      await delay(wait, undefined, { signal: deadline.signal }).catch(() => deadline.signal.throwIfAborted());
    }
  }

  /**
   * One call whose answer has no end: yields the text as it arrives. Ends when the server ends it, and rejects when nothing arrives
   * for `idleTimeoutMilliseconds`. The connection is closed when the iteration ends, however it ends.
   */
  async *stream(call: ApiRequest, idleTimeoutMilliseconds: number): AsyncGenerator<string, void, undefined> {
    using deadline = this.#deadline(call);
    const response = await this.#send(call, this.#streams, deadline.signal);
    const watchIdle = () =>
      deadline.restart(idleTimeoutMilliseconds, () => timedOut(call, 'was silent for', idleTimeoutMilliseconds));
    try {
      if (!isSuccess(response)) throw refusal(response, await readAll(call, response, deadline.signal));
      watchIdle();
      response.setEncoding('utf8');
      for await (const chunk of response) {
        this.#lastAnswerAt = performance.now();
        watchIdle();
        yield chunk as string;
      }
    } catch (error) {
      throw failure(call, error, deadline.signal);
    }
  }

  /** Ends what is under way and closes every connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(
      new ApiError(0, 'ConnectionFailed', 'the connection to the API server was closed by this process'),
    );
    this.#calls.destroy();
    this.#streams.destroy();
  }

  close(): Promise<void> {
    return this[Symbol.asyncDispose]();
  }

  #deadline(call: ApiRequest): Deadline {
    const timeout = this.#options.requestTimeoutMilliseconds ?? 10_000;
    const deadline = new Deadline([call.signal, this.#closing.signal]);
    return deadline.restart(timeout, () => timedOut(call, 'was not answered within', timeout));
  }

  /** Resolves with the head of the answer. */
  async #send(call: ApiRequest, agent: Agent, signal: AbortSignal): Promise<IncomingMessage> {
    const { method, resourcePlural } = call;
    try {
      const response = await this.#open(call, agent, signal);
      const status = response.statusCode ?? 0;
      this.#options.onRequest?.(method, resourcePlural, status);
      if (status < 400 || status === 404 || status === 409) this.#lastAnswerAt = performance.now();
      if (status === 401) this.#credentials.forget();
      return response;
    } catch (error) {
      this.#options.onRequest?.(method, resourcePlural, 0);
      throw failure(call, error, signal);
    }
  }

  async #open(call: ApiRequest, agent: Agent, signal: AbortSignal): Promise<IncomingMessage> {
    const { tls, headers } = await this.#credentials.read();
    signal.throwIfAborted();
    const { hostname, port, pathname } = this.#base;
    const query = call.query?.size ? `?${call.query}` : '';
    const body = call.body === undefined ? undefined : JSON.stringify(call.body);
    return new Promise((resolve, reject) => {
      const request = httpsRequest({
        ...tls,
        agent,
        signal,
        method: call.method,
        hostname: hostname.replace(/^\[|\]$/g, ''),
        port: port || 443,
        path: `${pathname.replace(/\/$/, '')}${call.path}${query}`,
        headers: {
          ...headers,
          accept: 'application/json',
          'user-agent': this.#options.userAgent ?? 'vmferry',
          ...(body !== undefined && {
            'content-type': call.contentType ?? 'application/json',
            'content-length': Buffer.byteLength(body),
          }),
        },
      });
      request.once('response', resolve);
      // Not `once`: a connection may break again after the answer's head came, and that is reported by the answer's body.
      request.on('error', reject);
      request.end(body);
    });
  }
}

function isSuccess(response: IncomingMessage): boolean {
  const status = response.statusCode ?? 0;
  return status >= 200 && status < 300;
}

async function readAll(call: ApiRequest, response: IncomingMessage, signal: AbortSignal): Promise<string> {
  try {
    let text = '';
    response.setEncoding('utf8');
    for await (const chunk of response) text += chunk;
    return text;
  } catch (error) {
    throw failure(call, error, signal);
  }
}

function parseJson(call: ApiRequest, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ApiError(0, 'ConnectionFailed', `${call.method} ${call.path}: the answer is no JSON`, { cause: error });
  }
}

function refusal(response: IncomingMessage, text: string): ApiError {
  const retryAfter = Number(response.headers['retry-after'] ?? Number.NaN);
  const retryAfterSeconds = Number.isFinite(retryAfter) && retryAfter >= 0 ? retryAfter : undefined;
  let status: Status = { message: text.slice(0, maxErrorTextLength).trim() };
  try {
    const parsed = JSON.parse(text);
    if (parsed?.kind === 'Status') status = parsed;
  } catch {
    // Not the API server's own answer: its text is the best there is.
  }
  return ApiError.fromStatus(response.statusCode ?? 0, status, retryAfterSeconds);
}

/** What an interrupted call rejects with: the reason of the signal that ended it, else what happened to the connection. */
function failure(call: ApiRequest, error: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  if (error instanceof ApiError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new ApiError(0, 'ConnectionFailed', `${call.method} ${call.path}: ${text}`, { cause: error });
}

function timedOut(call: ApiRequest, what: string, milliseconds: number): ApiError {
  return new ApiError(0, 'Timeout', `${call.method} ${call.path} ${what} ${milliseconds} ms`);
}
