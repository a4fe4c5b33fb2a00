import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Stands between a client and a server, and can cut the connections through it, or let nothing pass. */
export class TcpProxy implements AsyncDisposable {
  readonly #server = createServer({ allowHalfOpen: true }, (socket) => this.#forward(socket));
  readonly #target: URL;
  /** What each client's socket is connected to. */
  readonly #sockets = new Map<Socket, Socket>();
  #isOpen = true;
  #isBlackHole = false;
  #accepted = 0;

  constructor(target: string) {
    this.#target = new URL(target);
  }

  /** Its own address, as the URL that replaces the server's. */
  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Connections of clients that are open now. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Connections of clients since the start. */
  get accepted(): number {
    return this.#accepted;
  }

  /** Resets every connection. */
  cut(): void {
    for (const socket of this.#sockets.keys()) socket.resetAndDestroy();
  }

  /** Resets every connection, and every new one too until `open`. */
  close(): void {
    this.#isOpen = false;
    this.cut();
  }

  /** Swallows what either end sends, and closes nothing. So do new connections until `open`; these for ever. */
  swallow(): void {
    this.#isBlackHole = true;
    for (const [client, upstream] of this.#sockets) {
      client.unpipe().resume();
      upstream.unpipe().resume();
    }
  }

  open(): void {
    this.#isOpen = true;
    this.#isBlackHole = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    this.#server.close();
  }

  #forward(client: Socket): void {
    if (!this.#isOpen) {
      client.on('error', () => undefined);
      client.resetAndDestroy();
      return;
    }
    this.#accepted++;
    const upstream = connect({ host: this.#target.hostname, port: Number(this.#target.port), allowHalfOpen: true });
    this.#sockets.set(client, upstream);
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
    }
    if (this.#isBlackHole) {
      client.resume();
      upstream.resume();
    } else {
      client.pipe(upstream).pipe(client);
    }
    client.on('close', () => {
      this.#sockets.delete(client);
      upstream.destroy();
    });
    upstream.on('close', () => client.destroy());
  }
}
