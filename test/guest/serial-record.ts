/** What one QEMU's serial console gave in one read. */
export interface SerialChunk {
  /** Which QEMU: the name it was followed under. */
  readonly side: string;
  /** The machine's monotonic clock, the same for every process of this boot. */
  readonly atMilliseconds: number;
  readonly text: string;
}

/** What the consoles of one VM's QEMUs gave, in the order in which it arrived. */
export class SerialRecord {
  readonly output: SerialChunk[] = [];
  readonly #waiters = new Set<(chunk: SerialChunk) => void>();

  push(chunk: SerialChunk): void {
    this.output.push(chunk);
    for (const look of this.#waiters) look(chunk);
  }

  /**
   * Resolves with the match of `pattern` in what is recorded from now on (of `side`, or of any), or rejects when the
   * signal ends.
   */
  waitFor(pattern: RegExp, signal: AbortSignal, side?: string): Promise<RegExpExecArray> {
    const { promise, resolve, reject } = Promise.withResolvers<RegExpExecArray>();
    let tail = '';
    const look = (chunk: SerialChunk) => {
      if (side !== undefined && chunk.side !== side) return;
      tail = (tail + chunk.text).slice(-4096);
      const match = pattern.exec(tail);
      if (match) resolve(match);
    };
    const abort = () => reject(new Error(`not seen on the serial console: ${pattern}`, { cause: signal.reason }));
    this.#waiters.add(look);
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    return promise.finally(() => {
      this.#waiters.delete(look);
      signal.removeEventListener('abort', abort);
    });
  }
}
