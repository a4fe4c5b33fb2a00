/** Stands between the two QEMUs of an unencrypted migration, and loses the last thing that the target says to the source. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Endpoint } from './before-the-plan.ts';

/** "I have everything": the type of the return path's last message. Each begins with its type and its length, 16 bits both. */
const shut = 1;
const headerBytes = 4;

export class ReturnPathProxy implements AsyncDisposable {
  readonly #target: Endpoint;
  readonly #sockets = new Set<Socket>();
  readonly #heldBack = Promise.withResolvers<void>();
  readonly #server = createServer((source) => this.#forward(source));

  private constructor(target: Endpoint) {
    this.#target = target;
  }

  static async to(target: Endpoint): Promise<ReturnPathProxy> {
    const proxy = new ReturnPathProxy(target);
    proxy.#server.listen(0, addressBeside(target.host));
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get endpoint(): Endpoint {
    const { address, port } = this.#server.address() as AddressInfo;
    return { host: address, port };
  }

  /** The target has said that it has everything, and the source does not know. */
  get heldBack(): Promise<void> {
    return this.#heldBack.promise;
  }

  /** Closes the connections of both. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#server.close();
  }

  #forward(source: Socket): void {
    const target = connect(this.#target);
    for (const socket of [source, target]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
    }
    source.pipe(target);
    let lastWord = false;
    let unread = Buffer.alloc(0);
    target.on('data', (chunk: Buffer) => {
      unread = Buffer.concat([unread, chunk]);
      for (let message = firstMessage(unread); message !== undefined; message = firstMessage(unread)) {
        unread = unread.subarray(message.length);
        lastWord = message.readUInt16BE(0) === shut;
        if (lastWord) this.#heldBack.resolve();
        else source.write(message);
      }
    });
    source.on('close', () => target.destroy());
    // The target may close its side when it has said its last word: the source is to hear of neither before the cut.
    target.on('close', () => lastWord || source.destroy());
  }
}

function firstMessage(bytes: Buffer): Buffer | undefined {
  if (bytes.length < headerBytes) return undefined;
  const length = headerBytes + bytes.readUInt16BE(2);
  return bytes.length < length ? undefined : bytes.subarray(0, length);
}

/** This machine's own address in the nodes' network. */
function addressBeside(host: string): string {
  const network = host.split('.').slice(0, 3).join('.');
  const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return own.find(({ address }) => address.startsWith(`${network}.`))?.address ?? '127.0.0.1';
}
