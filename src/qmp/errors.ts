/** What a caller may branch on. Never branch on QEMU's own texts: they change between versions. */
export type QmpErrorCode =
  | 'QmpCommandFailed'
  | 'QmpTimeout'
  | 'QmpDisconnected'
  | 'QmpClosed'
  | 'QmpBusy'
  | 'QmpConnectFailed'
  | 'QmpProtocolViolation';

/** The root of everything this layer rejects with, beside an AbortSignal's own reason. */
export abstract class QmpError extends Error {
  abstract readonly code: QmpErrorCode;
}

/** QEMU's five error classes; open, because it is QEMU that writes them. */
export type QmpErrorClass =
  | 'GenericError'
  | 'CommandNotFound'
  | 'DeviceNotActive'
  | 'DeviceNotFound'
  | 'KVMMissingCap'
  | (string & {});

/** QEMU answered the command with an error: it has read the command and is alive. */
export class QmpCommandError extends QmpError {
  override readonly name = 'QmpCommandError';
  readonly code = 'QmpCommandFailed';
  readonly class: QmpErrorClass;
  /** QEMU's sentence for humans, cut to 1000 characters. */
  readonly description: string;
  readonly command: string;

  constructor(command: string, errorClass: string, description: string) {
    const text = description.slice(0, 1000);
    super(`QEMU refused "${command}": ${text}`);
    this.class = errorClass.slice(0, 100);
    this.description = text;
    this.command = command;
  }
}

/**
 * No reply in time. This says nothing about the process: a QEMU that holds its big lock reads commands and answers none.
 * With `sent` true the command may still be carried out; with false it never left this process and will not be.
 */
export class QmpTimeout extends QmpError {
  override readonly name = 'QmpTimeout';
  readonly code = 'QmpTimeout';
  readonly command: string;
  readonly timeoutMilliseconds: number;
  readonly sent: boolean;

  constructor(command: string, timeoutMilliseconds: number, sent: boolean) {
    super(
      sent
        ? `QEMU did not answer "${command}" within ${timeoutMilliseconds} ms`
        : `"${command}" was not sent: for ${timeoutMilliseconds} ms QEMU has not answered the command before it`,
    );
    this.command = command;
    this.timeoutMilliseconds = timeoutMilliseconds;
    this.sent = sent;
  }
}

/** The other end closed or reset the socket: QEMU has ended, or has closed this monitor. */
export class QmpDisconnected extends QmpError {
  override readonly name = 'QmpDisconnected';
  readonly code = 'QmpDisconnected';
}

/** This process closed the connection itself. */
export class QmpClosed extends QmpError {
  override readonly name = 'QmpClosed';
  readonly code = 'QmpClosed';
}

/** Connected, but no greeting in time: a monitor serves one client at a time (or QEMU is stopped or starting). */
export class QmpBusy extends QmpError {
  override readonly name = 'QmpBusy';
  readonly code = 'QmpBusy';
}

/** There is nobody at the path. `errno` is the system's word: ENOENT (no socket), ECONNREFUSED (nobody listens), EACCES … */
export class QmpConnectFailed extends QmpError {
  override readonly name = 'QmpConnectFailed';
  readonly code = 'QmpConnectFailed';
  readonly errno: string;

  constructor(socketPath: string, errno: string, options?: ErrorOptions) {
    super(`Cannot connect to the QMP socket ${socketPath}: ${errno}`, options);
    this.errno = errno;
  }
}

/** The other end sent what is not QMP, or more than it may. A guest that broke out of QEMU can do that. */
export class QmpProtocolViolation extends QmpError {
  override readonly name = 'QmpProtocolViolation';
  readonly code = 'QmpProtocolViolation';
}
