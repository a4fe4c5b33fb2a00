import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { KeyPair } from '../../certificates/key-pair.ts';
import { UnreadableBody } from '../../http/read-json.ts';
import type { Logger } from '../../observability/logger.ts';
import { AdmittedAttempt, type HandoverHandle } from './admitted-attempt.ts';
import { protocolOptions } from './pinned-peer.ts';

export type { HandoverHandle } from './admitted-attempt.ts';

export interface HandoverServerOptions {
  /** This node's address for agents of other nodes. */
  readonly host: string;
  /** 0 lets the kernel choose. */
  readonly port: number;
  readonly logger: Logger;
}

export interface Admission {
  /** What the source asks for by SNI: the attempt's stamp. */
  readonly name: string;
  readonly own: KeyPair;
  /** The source agent's, in PEM. */
  readonly peerCertificate: string;
  readonly handle: HandoverHandle;
}

/**
 * Why a connection or a request went no further. Handshake: no TLS 1.3, or none in time. UnknownName: of no attempt on this
 * node. NotThePeer: no certificate, another's, or one that is not valid now. Malformed: no HTTP, or not a call of this protocol.
 */
export type Refusal = 'Handshake' | 'UnknownName' | 'NotThePeer' | 'Malformed';

/** Every connection in a handshake; who has come first goes first, so that silent ones cannot shut the door. */
const maxHandshakes = 64;
const handshakeTimeoutMilliseconds = 5_000;
/** Of an attempt's connection; its client speaks every second. */
const idleTimeoutMilliseconds = 10_000;
/** From a request's first byte to its last. */
const requestTimeoutMilliseconds = 5_000;

class UnknownName extends Error {}

/**
 * The target side's end of the handover, one for all attempts on this node. By SNI a connection is shown that attempt's
 * certificate, and only the attempt's peer gets further; what it then asks for concerns that attempt and no other.
 */
export class HandoverServer implements AsyncDisposable {
  readonly #logger: Logger;
  readonly #attempts = new Map<string, AdmittedAttempt>();
  readonly #attemptOf = new WeakMap<Socket, AdmittedAttempt>();
  /** By the client's address and port. */
  readonly #handshakes = new Map<string, Socket>();
  readonly #refused: Record<Refusal, number> = { Handshake: 0, UnknownName: 0, NotThePeer: 0, Malformed: 0 };
  readonly #server = createServer({
    ...protocolOptions,
    noDelay: true,
    requestCert: true,
    // Who is not the peer is turned away below, where it can be counted and told.
    rejectUnauthorized: false,
    handshakeTimeout: handshakeTimeoutMilliseconds,
    headersTimeout: requestTimeoutMilliseconds,
    requestTimeout: requestTimeoutMilliseconds,
    connectionsCheckingInterval: 1_000,
    keepAliveTimeout: idleTimeoutMilliseconds,
    maxHeaderSize: 4 * 1024,
    SNICallback: (name, answer) => {
      const context = this.#attempts.get(name)?.context;
      if (context === undefined) answer(new UnknownName(`no attempt ${name.slice(0, 100)} on this node`));
      else answer(null, context);
    },
  });

  private constructor(logger: Logger) {
    this.#logger = logger;
    this.#server.timeout = idleTimeoutMilliseconds;
    this.#server.on('connection', (socket) => this.#watchHandshake(socket as Socket));
    this.#server.prependListener('secureConnection', (socket) => this.#identify(socket));
    this.#server.on('clientError', (error, socket) => this.#onClientError(error, socket as Socket));
    this.#server.on('request', (request, response) => void this.#answer(request, response));
  }

  /** @throws the listening socket's error, such as EADDRINUSE. */
  static async listen({ host, port, logger }: HandoverServerOptions): Promise<HandoverServer> {
    const server = new HandoverServer(logger);
    server.#server.listen(port, host);
    await once(server.#server, 'listening');
    // Later ones concern a connection that was not accepted, for want of file descriptors say; the client comes again.
    server.#server.on('error', (error) => logger.error({ err: error }, 'a handover connection was not accepted'));
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** How often a connection or a request was refused since the start. */
  get refused(): Readonly<Record<Refusal, number>> {
    return this.#refused;
  }

  /**
   * Answers the attempt's source until disposed of; that cuts its connections and aborts the signals of its calls.
   * @throws HandoverCertificateInvalid
   * @throws Error when the attempt is admitted already
   */
  admit({ name, own, peerCertificate, handle }: Admission): Disposable {
    if (this.#attempts.has(name)) throw new Error(`the attempt ${name} has been admitted already`);
    const attempt = new AdmittedAttempt({ name, own, peerCertificate, handle, logger: this.#logger });
    this.#attempts.set(name, attempt);
    return {
      [Symbol.dispose]: () => {
        if (this.#attempts.get(name) === attempt) this.#attempts.delete(name);
        attempt[Symbol.dispose]();
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const attempt of this.#attempts.values()) attempt[Symbol.dispose]();
    this.#attempts.clear();
    for (const socket of this.#handshakes.values()) socket.destroy();
    this.#server.closeAllConnections();
    await closed;
  }

  #watchHandshake(socket: Socket): void {
    const id = clientOf(socket);
    this.#handshakes.set(id, socket);
    socket.once('close', () => {
      if (this.#handshakes.get(id) === socket) this.#handshakes.delete(id);
    });
    if (this.#handshakes.size <= maxHandshakes) return;
    const [oldest] = this.#handshakes.values();
    oldest?.destroy();
  }

  /** Before HTTP sees the connection: a destroyed one delivers nothing to it. */
  #identify(socket: TLSSocket): void {
    this.#handshakes.delete(clientOf(socket));
    // Typed as a string, false when the client named none.
    const attempt = this.#attempts.get((socket as { servername?: string | false }).servername || '');
    const certificate = socket.getPeerX509Certificate();
    if (attempt !== undefined && socket.authorized && attempt.isPeer(certificate)) {
      this.#attemptOf.set(socket, attempt);
      attempt.attach(socket);
      return;
    }
    this.#refuse('NotThePeer', socket, attempt?.name, socket.authorizationError);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = request;
    const attempt = this.#attemptOf.get(socket);
    // Cannot be, but is not to depend on that.
    if (attempt === undefined) return this.#refuse('NotThePeer', socket);
    try {
      await attempt.answer(request, response);
    } catch (error) {
      if (!(error instanceof UnreadableBody)) throw error;
      this.#refuse('Malformed', socket, attempt.name, error);
    }
  }

  #onClientError(error: NodeJS.ErrnoException, socket: Socket): void {
    const attempt = this.#attemptOf.get(socket);
    if (attempt === undefined) {
      this.#refuse(error instanceof UnknownName ? 'UnknownName' : 'Handshake', socket, undefined, error);
    } else if (error.code?.startsWith('HPE_') || error.code === 'ERR_HTTP_REQUEST_TIMEOUT') {
      this.#refuse('Malformed', socket, attempt.name, error);
    } else {
      socket.destroy();
    }
  }

  #refuse(refusal: Refusal, socket: Socket, name?: string, cause?: Error | string): void {
    this.#refused[refusal]++;
    const { remoteAddress } = socket;
    const why = cause instanceof Error ? cause.message.trim() : cause;
    this.#logger.info({ refusal, remoteAddress, attempt: name, cause: why }, 'refused a handover connection');
    socket.destroy();
  }
}

const clientOf = ({ remoteAddress, remotePort }: Socket) => `${remoteAddress} ${remotePort}`;
