import { events, type QmpEvent } from './events.ts';

/** More unread ones than any migration makes, and few enough to hold. */
const mostUnread = 1000;

/**
 * One reader's events in order. Of the kinds that come in any number only the newest unread one is kept; of the others a
 * thousand may wait.
 */
export class EventQueue implements AsyncIterableIterator<QmpEvent, undefined> {
  #unread: QmpEvent[] = [];
  #waiting: ((result: IteratorResult<QmpEvent, undefined>) => void)[] = [];
  #ended = false;
  readonly #whenEnded: () => void;

  /** `whenEnded` is called once, by whichever side ends the reading. */
  constructor(whenEnded: () => void) {
    this.#whenEnded = whenEnded;
  }

  /** @returns false when the event does not fit: somebody floods, or the reader sleeps. */
  push(event: QmpEvent): boolean {
    const reader = this.#waiting.shift();
    if (reader !== undefined) {
      reader({ value: event, done: false });
      return true;
    }
    if (event.name === 'OTHER' || 'onlyNewest' in events[event.name]) {
      const older = this.#unread.findIndex((unread) => kind(unread) === kind(event));
      if (older >= 0) this.#unread.splice(older, 1);
    }
    return this.#unread.push(event) <= mostUnread;
  }

  /** What is unread can still be read. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const reader of this.#waiting.splice(0)) reader({ value: undefined, done: true });
    this.#whenEnded();
  }

  next(): Promise<IteratorResult<QmpEvent, undefined>> {
    const event = this.#unread.shift();
    if (event !== undefined) return Promise.resolve({ value: event, done: false });
    if (this.#ended) return Promise.resolve({ value: undefined, done: true });
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  return(): Promise<IteratorResult<QmpEvent, undefined>> {
    this.#unread = [];
    this.end();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

function kind(event: QmpEvent): string {
  return event.name === 'OTHER' ? `OTHER ${event.event}` : event.name;
}
