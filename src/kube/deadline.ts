/**
 * A signal that aborts when one of others does or a time is up, whichever is first. Unlike `AbortSignal.any` it lets go of the
 * others when it is disposed of, so that a signal that lives as long as the process does not collect listeners.
 */
export class Deadline implements Disposable {
  readonly #abort = new AbortController();
  readonly #cleanups: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #endsAt = Number.POSITIVE_INFINITY;

  /** No time is set before the first `restart`. */
  constructor(signals: readonly (AbortSignal | undefined)[]) {
    for (const signal of signals) if (signal) this.#follow(signal);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Milliseconds until the time is up. */
  remaining(): number {
    return this.#endsAt - performance.now();
  }

  /** The time is up `milliseconds` from now. @param reason makes what the signal then aborts with */
  restart(milliseconds: number, reason: () => Error): this {
    clearTimeout(this.#timer);
    this.#endsAt = performance.now() + milliseconds;
    this.#timer = setTimeout(() => this.#abort.abort(reason()), milliseconds);
    return this;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    for (const cleanup of this.#cleanups) cleanup();
  }

  #follow(signal: AbortSignal): void {
    const onAbort = () => this.#abort.abort(signal.reason);
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    this.#cleanups.push(() => signal.removeEventListener('abort', onAbort));
  }
}
