import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../observability/logger.ts';
import type { KubeClient } from './client.ts';
import { type Event, events, microTime, type ObjectReference } from './core-resources.ts';
import { isAlreadyExists, isNotFound, isUnanswered } from './errors.ts';
import type { Draft, KubeObject } from './resource.ts';

export interface EventSource {
  /** For example `vmferry.io/controller`. */
  readonly reportingController: string;
  /** The pod's or host's name. */
  readonly reportingInstance: string;
  /** Is told of events that could not be written. */
  readonly logger?: Logger;
}

export interface EventOptions {
  related?: KubeObject;
  /** What was done, as one CamelCase word; the reason when absent. */
  action?: string;
}

/** The API's bound on a note, in bytes. */
const maxNoteBytes = 1024;
/** Events that were not written yet; beyond that new ones are dropped. */
const maxPending = 200;
/** Same events within this time become one event with a count. */
const seriesMilliseconds = 6 * 60_000;
/** The count of a series is written no more often than this. */
const seriesWriteMilliseconds = 10_000;
/** How many series are remembered. */
const maxSeries = 200;
/** Of one write when the API server does not answer. */
const maxTries = 3;
/** For what is left when the recorder is disposed of. */
const lastFlushMilliseconds = 3_000;

interface Series {
  draft: Draft<Event>;
  isCreated: boolean;
  count: number;
  lastObservedAt: Date;
  timer?: NodeJS.Timeout;
}

/**
 * Writes `events.k8s.io/v1` events in the background, in order. Recording never throws and never waits: what cannot be written is
 * dropped, since events inform people and nothing depends on them.
 */
export class EventRecorder implements AsyncDisposable {
  readonly #client: KubeClient;
  readonly #source: EventSource;
  readonly #series = new Map<string, Series>();
  readonly #pending = new Set<Series>();
  readonly #stop = new AbortController();
  #writing: Promise<void> | undefined;

  constructor(client: KubeClient, source: EventSource) {
    this.#client = client;
    this.#source = source;
  }

  /** @param note for people; cut to 1 KiB */
  event(
    regarding: KubeObject,
    type: 'Normal' | 'Warning',
    reason: string,
    note: string,
    options: EventOptions = {},
  ): void {
    if (this.#stop.signal.aborted) return;
    const now = new Date();
    const key = JSON.stringify([
      regarding.metadata.uid,
      options.related?.metadata.uid,
      type,
      reason,
      options.action,
      note,
    ]);
    const known = this.#series.get(key);
    if (known && now.getTime() - known.lastObservedAt.getTime() < seriesMilliseconds) {
      this.#repeat(known, now);
      return;
    }
    const draft = this.#draft(regarding, type, reason, note, options, now);
    const series: Series = { draft, isCreated: false, count: 1, lastObservedAt: now };
    clearTimeout(known?.timer);
    this.#series.delete(key);
    this.#series.set(key, series);
    this.#forgetOldest();
    this.#write(series);
  }

  /** Resolves when everything recorded so far, counts too, is written or given up. */
  async flush(): Promise<void> {
    for (const series of this.#series.values()) {
      if (!series.timer) continue;
      clearTimeout(series.timer);
      this.#writeCount(series);
    }
    await this.#writing;
  }

  /** Writes what is left, within 3 seconds, and records nothing more. */
  async [Symbol.asyncDispose](): Promise<void> {
    const timer = setTimeout(() => this.#stop.abort(), lastFlushMilliseconds);
    await this.flush();
    clearTimeout(timer);
    this.#stop.abort();
  }

  #repeat(series: Series, now: Date): void {
    series.count++;
    series.lastObservedAt = now;
    series.timer ??= setTimeout(() => this.#writeCount(series), seriesWriteMilliseconds).unref();
  }

  #writeCount(series: Series): void {
    delete series.timer;
    this.#write(series);
  }

  /** The oldest series lose their count, not their event. */
  #forgetOldest(): void {
    for (const [key, series] of this.#series) {
      if (this.#series.size <= maxSeries) return;
      clearTimeout(series.timer);
      this.#series.delete(key);
    }
  }

  #write(series: Series): void {
    if (this.#pending.size >= maxPending) {
      this.#source.logger?.warn({ reason: series.draft.reason }, 'Dropped an event: too many are waiting');
      return;
    }
    this.#pending.add(series);
    this.#writing ??= this.#writePending();
  }

  async #writePending(): Promise<void> {
    // A set's iteration also visits what is added meanwhile.
    for (const series of this.#pending) {
      this.#pending.delete(series);
      await this.#writeOne(series);
    }
    this.#writing = undefined;
  }

  async #writeOne(series: Series): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        await this.#send(series);
        return;
      } catch (error) {
        // Events are kept for an hour: a series may outlive its event.
        const isForgotten = series.isCreated && isNotFound(error);
        if (isForgotten) series.isCreated = false;
        if (this.#stop.signal.aborted || tries >= maxTries || !(isForgotten || isUnanswered(error))) {
          this.#source.logger?.warn({ err: error, reason: series.draft.reason }, 'Could not write an event');
          return;
        }
        await delay(250 * tries, undefined, { signal: this.#stop.signal }).catch(() => undefined);
      }
    }
  }

  async #send(series: Series): Promise<void> {
    const { draft, count } = series;
    const { signal } = this.#stop;
    const counted = count > 1 ? { series: { count, lastObservedTime: microTime(series.lastObservedAt) } } : {};
    const { namespace = 'default', name = '' } = draft.metadata;
    if (series.isCreated) {
      await this.#client.mergePatch(events, { namespace, name }, counted, { signal });
      return;
    }
    await this.#client.create(events, { ...draft, ...counted }, { signal }).catch((error: unknown) => {
      // The names are random: it is ours, from a try whose answer was lost.
      if (!isAlreadyExists(error)) throw error;
    });
    series.isCreated = true;
  }

  #draft(
    regarding: KubeObject,
    type: 'Normal' | 'Warning',
    reason: string,
    note: string,
    options: EventOptions,
    now: Date,
  ): Draft<Event> {
    const { related, action = reason } = options;
    return {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      metadata: {
        namespace: regarding.metadata.namespace ?? 'default',
        name: eventName(regarding.metadata.name ?? ''),
      },
      eventTime: microTime(now),
      type,
      reason,
      action,
      note: cutToBytes(note, maxNoteBytes),
      regarding: reference(regarding),
      ...(related && { related: reference(related) }),
      reportingController: this.#source.reportingController,
      reportingInstance: this.#source.reportingInstance,
    };
  }
}

/** The object's name, a dot, 16 random hexadecimal digits: at most 253 characters, as every name. */
function eventName(name: string): string {
  return `${name.slice(0, 236).replace(/[^a-z0-9]+$/, '')}.${randomBytes(8).toString('hex')}`;
}

function reference({ apiVersion, kind, metadata }: KubeObject): ObjectReference {
  const { namespace, name, uid, resourceVersion } = metadata;
  return {
    apiVersion,
    kind,
    ...(namespace !== undefined && { namespace }),
    ...(name !== undefined && { name }),
    ...(uid !== undefined && { uid }),
    ...(resourceVersion !== undefined && { resourceVersion }),
  };
}

/** Cuts at a character's boundary, and marks the cut. */
export function cutToBytes(text: string, maxBytes: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= maxBytes) return text;
  const ellipsis = '…';
  let end = maxBytes - Buffer.byteLength(ellipsis);
  // 10xxxxxx: inside a character.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.toString('utf8', 0, end) + ellipsis;
}
