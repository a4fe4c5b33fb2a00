import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '../observability/logger.ts';
import type { KubeClient } from './client.ts';
import { type Lease, leases } from './core-resources.ts';
import { Deadline } from './deadline.ts';
import { isConflict, isNotFound } from './errors.ts';
import { heldBy, mayTake, type Observation, observeLease, released } from './lease-record.ts';
import type { ObjectRef } from './resource.ts';

export interface LeaderElectionOptions {
  readonly lease: ObjectRef & { namespace: string };
  /** Of this process and unlike any other's: host name, underscore, UUID. */
  readonly identity: string;
  /** Leadership ended against this process' will: it must stop acting at once, best by exiting. */
  readonly onLost: (error: Error) => void;
  readonly logger: Logger;
  /** For how long nobody else takes the lease from a silent leader; 15,000. */
  readonly leaseDurationMilliseconds?: number;
  /** After how long without a renewal the leader gives up; less than the lease's duration; 10,000. */
  readonly renewDeadlineMilliseconds?: number;
  /** Between two tries; 2,000. */
  readonly retryPeriodMilliseconds?: number;
}

/**
 * At most one leader among the processes that share a Lease. It bounds, it does not prevent, two of them acting at once: a leader
 * that was stopped and goes on finds out only at its next renewal, so what it writes must be guarded by resourceVersions.
 */
export class LeaderElection implements AsyncDisposable {
  readonly #client: KubeClient;
  readonly #options: LeaderElectionOptions;
  readonly #leaseDuration: number;
  readonly #renewDeadline: number;
  readonly #retryPeriod: number;
  readonly #stop = new AbortController();
  #observation: Observation | undefined;
  /** The lease as this process wrote it last, while it leads. */
  #held: Lease | undefined;
  /** What this process thinks to hold may be out of date: a write failed, or its answer was lost. */
  #mustRead = false;
  #renewedAt = 0;
  #renewing: Promise<void> | undefined;

  constructor(client: KubeClient, options: LeaderElectionOptions) {
    this.#client = client;
    this.#options = options;
    this.#leaseDuration = options.leaseDurationMilliseconds ?? 15_000;
    this.#renewDeadline = options.renewDeadlineMilliseconds ?? 10_000;
    this.#retryPeriod = options.retryPeriodMilliseconds ?? 2_000;
    if (this.#renewDeadline >= this.#leaseDuration || this.#retryPeriod >= this.#renewDeadline)
      throw new Error('leader election needs retry period < renew deadline < lease duration');
  }

  /** True only while nobody else can have taken the lease: also right after this process was stopped for a while. */
  isLeader(): boolean {
    return this.#held !== undefined && performance.now() < this.#renewedAt + this.#leaseDuration;
  }

  /** Resolves when this process leads; from then on it renews until it is disposed of. Rejects when the signal aborts. */
  async acquire(signal?: AbortSignal): Promise<void> {
    if (this.#renewing) throw new Error('already the leader');
    using deadline = new Deadline([signal, this.#stop.signal]);
    while (!(await this.#tryOnce(deadline.signal))) {
      deadline.signal.throwIfAborted();
      await delay(this.#retryPeriod * (1 + Math.random() / 5), undefined, { signal: deadline.signal }).catch(() =>
        deadline.signal.throwIfAborted(),
      );
    }
    this.#options.logger.info({ lease: this.#options.lease, identity: this.#options.identity }, 'Became the leader');
    this.#renewing = this.#renew();
  }

  /** Stops renewing, and gives the lease to whoever looks next. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('leader election stops'));
    await this.#renewing;
    if (!this.#held) return;
    try {
      const signal = AbortSignal.timeout(this.#requestTimeout());
      const current = await this.#current(signal);
      if (current?.spec?.holderIdentity !== this.#options.identity) return;
      await this.#client.replace(leases, { ...current, spec: released(current.spec, new Date()) }, { signal });
    } catch (error) {
      this.#options.logger.warn({ err: error }, 'Could not release the lease');
    } finally {
      this.#held = undefined;
    }
  }

  async #renew(): Promise<void> {
    const { signal } = this.#stop;
    for (;;) {
      await delay(this.#retryPeriod, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      // A request must not outlive the moment at which this process has to give up.
      const left = this.#renewedAt + this.#renewDeadline - performance.now();
      const isRenewed = left > 0 && (await this.#tryOnce(signal, left));
      if (signal.aborted) return;
      if (isRenewed) continue;
      const holder = this.#observation?.spec.holderIdentity;
      if (holder && holder !== this.#options.identity) return this.#lose(`${holder} holds the lease`);
      if (performance.now() >= this.#renewedAt + this.#renewDeadline)
        return this.#lose(`the lease could not be renewed for ${this.#renewDeadline} ms`);
    }
  }

  #lose(why: string): void {
    this.#held = undefined;
    const error = new Error(`no longer the leader: ${why}`);
    this.#options.logger.error({ err: error }, 'Lost leadership');
    this.#options.onLost(error);
  }

  /** Takes or renews the lease. False: somebody else holds it, or the try failed. */
  async #tryOnce(signal: AbortSignal, left = Number.POSITIVE_INFINITY): Promise<boolean> {
    const timeout = Math.min(this.#requestTimeout(), left);
    using deadline = new Deadline([signal]).restart(timeout, () => new Error(`no answer within ${timeout} ms`));
    try {
      return await this.#takeOrRenew(deadline.signal);
    } catch (error) {
      if (!signal.aborted && !isConflict(error)) this.#options.logger.warn({ err: error }, 'Could not reach the lease');
      this.#mustRead = true;
      return false;
    }
  }

  async #takeOrRenew(signal: AbortSignal): Promise<boolean> {
    const { identity, lease: ref } = this.#options;
    const current = await this.#current(signal);
    const now = performance.now();
    if (current) {
      this.#observation = observeLease(this.#observation, current, now);
      if (!mayTake(this.#observation, identity, now)) return false;
    }
    const spec = heldBy(identity, current?.spec, this.#leaseDuration, new Date());
    // From before the request: the lease is never held for longer than the server knows.
    const written = current
      ? await this.#client.replace(leases, { ...current, spec }, { signal })
      : await this.#client.create(
          leases,
          { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: ref, spec },
          { signal },
        );
    this.#held = written;
    this.#mustRead = false;
    this.#observation = { spec, seenAt: now };
    this.#renewedAt = now;
    return true;
  }

  async #current(signal: AbortSignal): Promise<Lease | undefined> {
    if (this.#held && !this.#mustRead) return this.#held;
    return this.#read(signal);
  }

  async #read(signal: AbortSignal): Promise<Lease | undefined> {
    try {
      return await this.#client.get(leases, this.#options.lease, { signal });
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  #requestTimeout(): number {
    return Math.max(1_000, this.#renewDeadline / 2);
  }
}
