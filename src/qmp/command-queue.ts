import { QmpCommandError, type QmpError, QmpProtocolViolation, QmpTimeout } from './errors.ts';
import type { Reply } from './message.ts';

export interface Request {
  readonly command: string;
  readonly arguments: object | undefined;
  readonly outOfBand: boolean;
  readonly timeoutMilliseconds: number;
  readonly signal: AbortSignal | undefined;
}

interface Pending extends Request {
  readonly id: number;
  sent: boolean;
  readonly succeed: (value: unknown) => void;
  readonly fail: (reason: unknown) => void;
  timer?: NodeJS.Timeout;
}

/**
 * Commands on their way to one monitor.
 *
 * In band, QEMU runs one command after the other, and with eight of them queued it stops reading the socket, out-of-band
 * commands included. So one is in flight and the rest wait here. A command's clock starts when it is sent. When its time is
 * up the caller is told, but QEMU may still be at it: it stays in flight until its late answer comes (which is dropped), and
 * whatever is sent behind it would only wait in QEMU. From that moment the clocks of those that wait here run as well, so
 * that each caller hears within twice its own time; such a command was not sent, and never will be. When the late answer
 * comes the queue moves on and the clocks of those left start afresh.
 *
 * Out of band there is no order: each is sent at once and found by its id.
 */
export class CommandQueue {
  readonly #write: (line: string) => void;
  #lastId = 0;
  #inFlight: Pending | undefined;
  /** The one in flight has used up its time. */
  #overdue = false;
  #waiting: Pending[] = [];
  readonly #outOfBand = new Map<number, Pending>();
  #closedWith: QmpError | undefined;

  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  /**
   * The value QEMU returned, not looked at yet.
   * @throws QmpCommandError, QmpTimeout, the signal's reason, or why the connection ended.
   */
  submit(request: Request): Promise<unknown> {
    if (request.signal?.aborted) return Promise.reject(request.signal.reason);
    if (this.#closedWith !== undefined) return Promise.reject(this.#closedWith);
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const { signal } = request;
    const whenAborted = () => this.#abort(pending);
    const pending: Pending = {
      ...request,
      id: ++this.#lastId,
      sent: false,
      succeed: (value) => {
        signal?.removeEventListener('abort', whenAborted);
        resolve(value);
      },
      fail: (reason) => {
        signal?.removeEventListener('abort', whenAborted);
        reject(reason);
      },
    };
    signal?.addEventListener('abort', whenAborted, { once: true });
    if (request.outOfBand) {
      this.#outOfBand.set(pending.id, pending);
      this.#send(pending);
    } else {
      this.#waiting.push(pending);
      if (this.#overdue) this.#startClock(pending);
      this.#next();
    }
    return promise;
  }

  /** @throws QmpProtocolViolation for an id that was never given out. */
  settle(reply: Reply): void {
    if (reply.id < 1 || reply.id > this.#lastId)
      throw new QmpProtocolViolation(`QMP reply with unknown id ${reply.id}`);
    const inBand = this.#inFlight?.id === reply.id;
    const pending = inBand ? this.#inFlight : this.#outOfBand.get(reply.id);
    // Too late: its caller has been told.
    if (pending === undefined) return;
    clearTimeout(pending.timer);
    if ('error' in reply) pending.fail(new QmpCommandError(pending.command, reply.error.class, reply.error.desc));
    else pending.succeed(reply.value);
    if (!inBand) {
      this.#outOfBand.delete(reply.id);
      return;
    }
    this.#inFlight = undefined;
    if (this.#overdue) for (const waiting of this.#waiting) clearTimeout(waiting.timer);
    this.#overdue = false;
    this.#next();
  }

  /** Everything pending fails with `error`, and so does everything submitted later. */
  close(error: QmpError): void {
    this.#closedWith = error;
    const all = [...this.#waiting.splice(0), ...this.#outOfBand.values()];
    if (this.#inFlight !== undefined) all.push(this.#inFlight);
    this.#outOfBand.clear();
    this.#inFlight = undefined;
    for (const pending of all) {
      clearTimeout(pending.timer);
      pending.fail(error);
    }
  }

  #next(): void {
    if (this.#inFlight !== undefined) return;
    const next = this.#waiting.shift();
    if (next === undefined) return;
    this.#inFlight = next;
    this.#send(next);
  }

  #send(pending: Pending): void {
    pending.sent = true;
    this.#startClock(pending);
    const { command, arguments: args, id } = pending;
    const verb = pending.outOfBand ? 'exec-oob' : 'execute';
    this.#write(`${JSON.stringify({ [verb]: command, arguments: args, id })}\n`);
  }

  #startClock(pending: Pending): void {
    clearTimeout(pending.timer);
    pending.timer = setTimeout(() => this.#expire(pending), pending.timeoutMilliseconds);
  }

  #expire(pending: Pending): void {
    this.#forget(pending);
    pending.fail(new QmpTimeout(pending.command, pending.timeoutMilliseconds, pending.sent));
    if (pending !== this.#inFlight) return;
    this.#overdue = true;
    for (const waiting of this.#waiting) this.#startClock(waiting);
  }

  #abort(pending: Pending): void {
    this.#forget(pending);
    pending.fail(pending.signal?.reason);
    // The clock of one in flight runs on: it tells when those behind it have waited long enough.
    if (pending !== this.#inFlight) clearTimeout(pending.timer);
  }

  #forget(pending: Pending): void {
    this.#outOfBand.delete(pending.id);
    this.#waiting = this.#waiting.filter((other) => other !== pending);
  }
}
