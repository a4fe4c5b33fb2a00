import type { CommandArguments, CommandName, CommandResult, OutOfBandCommandName } from './commands.ts';
import type { QmpError } from './errors.ts';
import type { QmpEvent } from './events.ts';

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
export type Parameters<K extends CommandName> =
  Record<never, never> extends CommandArguments<K>
    ? [args?: CommandArguments<K>, options?: CommandOptions]
    : [args: CommandArguments<K>, options?: CommandOptions];

export declare class QmpConnection implements AsyncDisposable {
  static open(socketPath: string, options?: OpenOptions): Promise<QmpConnection>;
  readonly version: QmpVersion;
  /** Resolves, never rejects, with why the connection ended. */
  readonly closed: Promise<QmpError>;
  get isOpen(): boolean;
  execute<K extends CommandName>(command: K, ...rest: Parameters<K>): Promise<CommandResult<K>>;
  executeOutOfBand<K extends OutOfBandCommandName>(command: K, ...rest: Parameters<K>): Promise<CommandResult<K>>;
  events(signal?: AbortSignal): AsyncIterable<QmpEvent>;
  onEvent(handler: (event: QmpEvent) => void): () => void;
  [Symbol.asyncDispose](): Promise<void>;
}
