/** What happened in one run and when, for the trace of a run that failed. */
export class Diary {
  readonly #startedAt = performance.now();
  readonly #lines: string[] = [];

  note(what: string): void {
    const seconds = ((performance.now() - this.#startedAt) / 1000).toFixed(3);
    this.#lines.push(`${seconds.padStart(8)} s  ${what}`);
  }

  get lines(): readonly string[] {
    return this.#lines;
  }
}
