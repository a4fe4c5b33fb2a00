import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** Stands between a client and the API server, and can cut the connections through it. */
export class TcpProxy implements AsyncDisposable {
  readonly #server = createServer({ allowHalfOpen: true }, (socket) => this.#forward(socket));
  readonly #target: URL;
  readonly #sockets = new Set<Socket>();
  #isOpen = true;
  #accepted = 0;

  constructor(target: string) {
    this.#target = new URL(target);
  }

  /** Its own address, as the URL that replaces the API server's. */
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
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** Resets every connection, and every new one too until `open`. */
  close(): void {
    this.#isOpen = false;
    this.cut();
  }

  open(): void {
    this.#isOpen = true;
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
    this.#sockets.add(client);
    const upstream = connect({ host: this.#target.hostname, port: Number(this.#target.port), allowHalfOpen: true });
    for (const socket of [client, upstream]) {
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
    }
    client.pipe(upstream).pipe(client);
    client.on('close', () => {
      this.#sockets.delete(client);
      upstream.destroy();
    });
    upstream.on('close', () => client.destroy());
  }
}
