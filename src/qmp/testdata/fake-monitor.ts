import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const greeting = {
  QMP: { version: { qemu: { major: 10, minor: 1, micro: 2 }, package: 'fake' }, capabilities: ['oob'] },
};

interface Command {
  execute?: string;
  'exec-oob'?: string;
  arguments?: unknown;
  id: number;
}

/** The far end of a QMP socket, played by the test: greets, agrees, and then does what it is told. */
export class FakeMonitor implements AsyncDisposable {
  readonly path: string;
  /** What was received after the negotiation. */
  readonly received: Command[] = [];
  /** Answers a command with what it returns, if anything; a test may put its own here. */
  answer: (command: Command) => object | undefined = () => undefined;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #folder: string;
  #arrivals: (() => void)[] = [];

  static async listen(options: { greets?: boolean } = {}): Promise<FakeMonitor> {
    const monitor = new FakeMonitor(await mkdtemp(join(tmpdir(), 'qmp-')), options.greets ?? true);
    const { promise, resolve } = Promise.withResolvers<void>();
    monitor.#server.listen(monitor.path, resolve);
    await promise;
    return monitor;
  }

  private constructor(folder: string, greets: boolean) {
    this.#folder = folder;
    this.path = join(folder, 'qmp');
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => this.#sockets.delete(socket));
      createInterface(socket).on('line', (line) => this.#receive(JSON.parse(line)));
      if (greets) this.send(greeting);
    });
  }

  send(...messages: object[]): void {
    this.write(messages.map((message) => `${JSON.stringify(message)}\r\n`).join(''));
  }

  write(bytes: string | Buffer): void {
    for (const socket of this.#sockets) socket.write(bytes);
  }

  hangUp(): void {
    for (const socket of this.#sockets) socket.end();
  }

  /** Resolves when so many commands have been received. */
  async commands(count: number): Promise<void> {
    while (this.received.length < count) {
      await new Promise<void>((resolve) => this.#arrivals.push(resolve));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
    await rm(this.#folder, { recursive: true });
  }

  #receive(command: Command): void {
    if (command.execute === 'qmp_capabilities') {
      this.send({ return: {}, id: command.id });
      return;
    }
    this.received.push(command);
    const reply = this.answer(command);
    if (reply !== undefined) this.send({ ...reply, id: command.id });
    for (const arrived of this.#arrivals.splice(0)) arrived();
  }
}

export function event(name: string, data: object = {}, seconds = 1): object {
  return { event: name, data, timestamp: { seconds, microseconds: 500 } };
}
