/**
 * A signal that aborts when one of others does or a time is up, whichever is first. Unlike `AbortSignal.any` it lets go of the
 * others when it is disposed of, so that a signal that lives as long as the process does not collect listeners.
 */
export class Deadline implements Disposable {
  readonly #abort = new AbortController();
  readonly #cleanups: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #endsAt = 0;

  /** @param reason makes what the signal aborts with when the time is up */
  constructor(milliseconds: number, signals: readonly (AbortSignal | undefined)[], reason: () => Error) {
    this.restart(milliseconds, reason);
    for (const signal of signals) if (signal) this.#follow(signal);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Milliseconds until the time is up. */
  remaining(): number {
    return this.#endsAt - performance.now();
  }

  restart(milliseconds: number, reason: () => Error): void {
    clearTimeout(this.#timer);
    this.#endsAt = performance.now() + milliseconds;
    this.#timer = setTimeout(() => this.#abort.abort(reason()), milliseconds);
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
