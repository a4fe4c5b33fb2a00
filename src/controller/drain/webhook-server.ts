/** The HTTPS end of the webhook: one question, one answer. Whoever reaches the port may ask; that can do no more than move a VM. */
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { KeyPair } from '../../certificates/key-pair.ts';
import { readJson, UnreadableBody } from '../../http/read-json.ts';
import type { Logger } from '../../observability/logger.ts';
import { admissionResponse, type EvictionRequest, readEvictionRequest } from './admission-review.ts';

export interface WebhookServerOptions {
  /** On all addresses; 0 lets the kernel choose. */
  readonly port: number;
  readonly logger: Logger;
  /** @returns why the eviction is refused for now; undefined when it is not */
  readonly answer: (request: EvictionRequest, signal: AbortSignal) => Promise<string | undefined>;
}

/** What the ValidatingWebhookConfiguration names. */
const evictionsPath = '/evictions';
/** The API server gives up after the 2 s of the configuration. */
const answerWithinMilliseconds = 1_500;
/** A question carries an eviction and who asks for it. */
const maxBodyBytes = 256 * 1024;
const requestTimeoutMilliseconds = 5_000;
const maxConnections = 256;

export class WebhookServer implements AsyncDisposable {
  readonly #options: WebhookServerOptions;
  readonly #server = createServer({
    minVersion: 'TLSv1.3',
    handshakeTimeout: requestTimeoutMilliseconds,
    headersTimeout: requestTimeoutMilliseconds,
    requestTimeout: requestTimeoutMilliseconds,
    connectionsCheckingInterval: 1_000,
    // Longer than the API server keeps an idle connection: it is the one to close it, never in the middle of a question.
    keepAliveTimeout: 120_000,
  });

  private constructor(options: WebhookServerOptions) {
    this.#options = options;
    this.#server.maxConnections = maxConnections;
    this.#server.on('request', (request, response) => void this.#serve(request, response));
    this.#server.on('tlsClientError', (error) => options.logger.debug({ err: error }, 'A webhook connection failed'));
  }

  /** Handshakes fail until a certificate is presented. @throws the listening socket's error, such as EADDRINUSE */
  static async listen(options: WebhookServerOptions): Promise<WebhookServer> {
    const server = new WebhookServer(options);
    server.#server.listen(options.port);
    await once(server.#server, 'listening');
    server.#server.on('error', (error) =>
      options.logger.error({ err: error }, 'A webhook connection was not accepted'),
    );
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** To connections from now on. */
  present({ certificate, privateKey }: KeyPair): void {
    this.#server.setSecureContext({ minVersion: 'TLSv1.3', cert: certificate, key: privateKey });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController();
    response.once('close', () => gone.abort(new Error('nobody waits for the answer any more')));
    try {
      const [status, body] = await this.#answer(request, gone.signal);
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    } catch (error) {
      // Also when the connection broke. The API server then goes on without an answer.
      const status = error instanceof UnreadableBody ? 400 : 500;
      if (status === 500) this.#options.logger.error({ err: error }, 'A question about an eviction was not answered');
      response.writeHead(status, { connection: 'close' }).end();
    }
  }

  async #answer(request: IncomingMessage, gone: AbortSignal): Promise<[status: number, body: object]> {
    if (request.url?.split('?')[0] !== evictionsPath) return [404, {}];
    if (request.method !== 'POST') return [405, {}];
    const question = readEvictionRequest(await readJson(request, maxBodyBytes));
    if (question === undefined) return [400, {}];
    // A question that was not read in time, because this process stood still, must not move a VM an hour later.
    const signal = AbortSignal.any([gone, AbortSignal.timeout(answerWithinMilliseconds)]);
    const refusal = await this.#options.answer(question, signal);
    return [200, admissionResponse(question.uid, refusal)];
  }
}
