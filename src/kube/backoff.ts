/** Waits that double, each shortened at random by up to a half so that many clients do not come back in step. */
export class Backoff {
  readonly #first: number;
  readonly #max: number;
  #next: number;

  constructor(options: { firstMilliseconds: number; maxMilliseconds: number }) {
    this.#first = options.firstMilliseconds;
    this.#max = options.maxMilliseconds;
    this.#next = this.#first;
  }

  /** The next wait in milliseconds. */
  next(): number {
    const wait = this.#next;
    this.#next = Math.min(wait * 2, this.#max);
    return wait * (1 - Math.random() / 2);
  }

  /** There was progress: begin again with the shortest wait. */
  reset(): void {
    this.#next = this.#first;
  }
}
