import type { Socket } from 'node:net';
import { CommandQueue } from './command-queue.ts';
import {
  type CommandArguments,
  type CommandName,
  type CommandResult,
  commands,
  type OutOfBandCommandName,
} from './commands.ts';
import { connectTo } from './connect.ts';
import { QmpBusy, QmpClosed, QmpDisconnected, QmpError, QmpProtocolViolation } from './errors.ts';
import { EventQueue } from './event-queue.ts';
import type { QmpEvent } from './events.ts';
import { LineSplitter } from './lines.ts';
import { type Greeting, parseMessage } from './message.ts';

export interface QmpVersion {
  readonly major: number;
  readonly minor: number;
  readonly micro: number;
  /** The distribution's own version, may be empty. */
  readonly package: string;
}

/** The two levels of a pino logger that are used here. Arguments of commands are never logged: they may hold secrets. */
export interface QmpLogger {
  debug(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface OpenOptions {
  /** Default 2000. One client per monitor at a time: a second one connects, but is not greeted. */
  greetingTimeoutMilliseconds?: number;
  /** Default of every command's deadline, 5000. */
  commandTimeoutMilliseconds?: number;
  /** Ends the opening; an open connection does not listen to it any more. */
  signal?: AbortSignal | undefined;
  logger?: QmpLogger | undefined;
}

export interface CommandOptions {
  timeoutMilliseconds?: number;
  signal?: AbortSignal | undefined;
}

/** `execute('cont')`, `execute('cont', {}, { timeoutMilliseconds })`, `execute('migrate', { uri })`. */
type Rest<K extends CommandName> =
  Record<never, never> extends CommandArguments<K>
    ? [args?: CommandArguments<K>, options?: CommandOptions]
    : [args: CommandArguments<K>, options?: CommandOptions];

/**
 * One client of one QMP monitor. Out-of-band commands are agreed upon while opening, and that needs QEMU's main loop: who
 * wants to save a blocked QEMU has its connection (to a monitor of its own) open before.
 *
 * Events are not stored for anybody: after opening, and after `closed`, ask for the state before waiting for changes.
 */
export class QmpConnection implements AsyncDisposable {
  readonly #socket: Socket;
  readonly #logger: QmpLogger | undefined;
  readonly #commandTimeoutMilliseconds: number;
  readonly #commands: CommandQueue;
  readonly #lines = new LineSplitter();
  readonly #handlers = new Set<(event: QmpEvent) => void>();
  readonly #readers = new Set<EventQueue>();
  readonly #greeting = Promise.withResolvers<Greeting>();
  readonly #closed = Promise.withResolvers<QmpError>();
  readonly #socketClosed: Promise<void>;
  #closedWith: QmpError | undefined;
  #version: QmpVersion = { major: 0, minor: 0, micro: 0, package: '' };

  /**
   * Connects, waits for the greeting and agrees on out-of-band commands.
   * @throws QmpConnectFailed, QmpBusy (no greeting, or too many clients queue for one), QmpTimeout (greeted, but the main
   * loop does not answer), QmpDisconnected, QmpProtocolViolation, or the signal's reason.
   */
  static async open(socketPath: string, options: OpenOptions = {}): Promise<QmpConnection> {
    options.signal?.throwIfAborted();
    const connection = new QmpConnection(await connectTo(socketPath), options);
    try {
      await connection.#negotiate(options);
      return connection;
    } catch (error) {
      await connection[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(socket: Socket, options: OpenOptions) {
    this.#socket = socket;
    this.#logger = options.logger;
    this.#commandTimeoutMilliseconds = options.commandTimeoutMilliseconds ?? 5000;
    this.#commands = new CommandQueue((line) => socket.write(line));
    // Nobody waits for the greeting any more once opening was given up.
    this.#greeting.promise.catch(() => undefined);
    this.#socketClosed = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (cause) => this.#end(new QmpDisconnected(`QMP connection broken: ${cause.message}`, { cause })));
    socket.on('close', () => this.#end(new QmpDisconnected('QEMU closed the QMP connection')));
  }

  get version(): QmpVersion {
    return this.#version;
  }

  /** Resolves, never rejects, with why the connection ended. */
  get closed(): Promise<QmpError> {
    return this.#closed.promise;
  }

  get isOpen(): boolean {
    return this.#closedWith === undefined;
  }

  /**
   * Runs a command in band: one at a time, in the order of the calls. The deadline starts when the command is sent; behind
   * a command that has used up its own, it starts at once and the command is then never sent (QmpTimeout with `sent` false).
   * @throws QmpCommandError, QmpTimeout, why the connection ended, the signal's reason (a command already sent is carried
   * out nevertheless), or QmpProtocolViolation when the answer is not of the form known.
   */
  execute<K extends CommandName>(command: K, ...[args, options]: Rest<K>): Promise<CommandResult<K>> {
    return this.#run(command, args, options, false);
  }

  /** Runs a command in the monitor's own thread, past everything in band, even while QEMU's main loop is blocked. */
  executeOutOfBand<K extends OutOfBandCommandName>(command: K, ...[args, options]: Rest<K>): Promise<CommandResult<K>> {
    return this.#run(command, args, options, true);
  }

  /**
   * Every event from this call on, also what comes before the first `next()`. Ends, after what is unread, when the
   * connection closes or the signal fires. Of kinds that come in any number only the newest unread one is kept; a reader
   * with more than a thousand unread events of the others closes the connection.
   */
  events(signal?: AbortSignal): AsyncIterable<QmpEvent> {
    const stop = () => reader.end();
    const reader = new EventQueue(() => {
      this.#readers.delete(reader);
      signal?.removeEventListener('abort', stop);
    });
    if (!this.isOpen || signal?.aborted) {
      reader.end();
      return reader;
    }
    this.#readers.add(reader);
    signal?.addEventListener('abort', stop, { once: true });
    return reader;
  }

  /**
   * Calls `handler` in the same tick in which the event's bytes were read, before any reader of `events()` sees it.
   * @returns a function that ends it.
   */
  onEvent(handler: (event: QmpEvent) => void): () => void {
    const own = (event: QmpEvent) => handler(event);
    this.#handlers.add(own);
    return () => this.#handlers.delete(own);
  }

  /** Closes the socket; what is pending fails with QmpClosed. QEMU goes on and takes its next client. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end(new QmpClosed('The QMP connection was closed on this side'));
    await this.#socketClosed;
  }

  async #negotiate(options: OpenOptions): Promise<void> {
    const milliseconds = options.greetingTimeoutMilliseconds ?? 2000;
    const late = new QmpBusy(`Connected to QMP, but not greeted within ${milliseconds} ms: another client is served`);
    const timer = setTimeout(() => this.#greeting.reject(late), milliseconds);
    const whenAborted = () => this.#greeting.reject(options.signal?.reason);
    options.signal?.addEventListener('abort', whenAborted, { once: true });
    if (options.signal?.aborted) whenAborted();
    const greeting = await this.#greeting.promise.finally(() => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', whenAborted);
    });
    this.#version = { ...greeting.version.qemu, package: greeting.version.package };
    if (!greeting.capabilities.includes('oob')) {
      throw new QmpProtocolViolation('This QMP monitor offers no out-of-band commands');
    }
    await this.#commands.submit({
      command: 'qmp_capabilities',
      arguments: { enable: ['oob'] },
      outOfBand: false,
      timeoutMilliseconds: this.#commandTimeoutMilliseconds,
      signal: options.signal,
    });
  }

  async #run<K extends CommandName>(
    command: K,
    args: object | undefined,
    options: CommandOptions = {},
    outOfBand: boolean,
  ): Promise<CommandResult<K>> {
    const started = performance.now();
    try {
      const value = await this.#commands.submit({
        command,
        arguments: args,
        outOfBand,
        timeoutMilliseconds: options.timeoutMilliseconds ?? this.#commandTimeoutMilliseconds,
        signal: options.signal,
      });
      if (!commands[command].result.matches(value)) {
        throw new QmpProtocolViolation(`QEMU's answer to "${command}" is not of the form known`);
      }
      this.#logger?.debug({ command, outOfBand, milliseconds: performance.now() - started }, 'QMP command done');
      return value as CommandResult<K>;
    } catch (error) {
      const code = error instanceof QmpError ? error.code : 'Aborted';
      this.#logger?.debug(
        { command, outOfBand, milliseconds: performance.now() - started, code },
        'QMP command failed',
      );
      throw error;
    }
  }

  #receive(chunk: Buffer): void {
    try {
      for (const line of this.#lines.push(chunk)) this.#handle(line);
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      this.#logger?.warn({ code: error.code, reason: error.message }, 'QMP connection given up');
      this.#end(error);
    }
  }

  #handle(line: string): void {
    const message = parseMessage(line);
    if ('greeting' in message) this.#greeting.resolve(message.greeting);
    else if ('reply' in message) this.#commands.settle(message.reply);
    else this.#publish(message.event);
  }

  #publish(event: QmpEvent): void {
    for (const handler of [...this.#handlers]) {
      try {
        handler(event);
      } catch (error) {
        // A programmer's error crashes, but not from inside the socket: the others get their event first.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
    for (const reader of this.#readers) {
      if (!reader.push(event)) throw new QmpProtocolViolation('More QMP events than anybody reads');
    }
  }

  #end(error: QmpError): void {
    if (this.#closedWith !== undefined) return;
    this.#closedWith = error;
    this.#socket.destroy();
    this.#greeting.reject(error);
    this.#commands.close(error);
    for (const reader of this.#readers) reader.end();
    this.#handlers.clear();
    this.#closed.resolve(error);
  }
}
