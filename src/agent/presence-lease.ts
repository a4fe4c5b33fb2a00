/** Shows the controller that this agent works: renews the Lease of its node. Nothing waits for it, and whatever fails is tried again. */
import { setTimeout as delay } from 'node:timers/promises';
import {
  agentLeaseDurationMilliseconds,
  agentLeaseLabel,
  agentLeaseName,
  agentLeaseRenewMilliseconds,
} from '../api/agent-lease.ts';
import type { KubeClient } from '../kube/client.ts';
import { type Lease, leases } from '../kube/core-resources.ts';
import { Deadline } from '../kube/deadline.ts';
import { isAlreadyExists, isConflict, isNotFound } from '../kube/errors.ts';
import { heldBy } from '../kube/lease-record.ts';
import type { Logger } from '../observability/logger.ts';

/** After a try that failed. */
const retryMilliseconds = 2_000;
/** An answer later than this is none. */
const requestMilliseconds = 5_000;

export interface PresenceLeaseOptions {
  readonly client: Pick<KubeClient, 'get' | 'create' | 'replace'>;
  readonly namespace: string;
  readonly nodeName: string;
  /** Of this process and unlike any other's: whoever watches is to see that it was started anew. */
  readonly identity: string;
  readonly logger: Logger;
  readonly renewMilliseconds?: number;
  readonly retryMilliseconds?: number;
}

/** Renews from now on until it is disposed of. The lease stays: only renewals say anything. */
export class PresenceLease implements AsyncDisposable {
  readonly #options: PresenceLeaseOptions;
  readonly #stop = new AbortController();
  readonly #renewing: Promise<void>;
  /** As this process has written it last; undefined when it must be read. */
  #held: Lease | undefined;
  #isLate = false;

  constructor(options: PresenceLeaseOptions) {
    this.#options = options;
    this.#renewing = this.#renew();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the agent stops'));
    await this.#renewing;
  }

  async #renew(): Promise<void> {
    const { signal } = this.#stop;
    const { renewMilliseconds = agentLeaseRenewMilliseconds } = this.#options;
    while (!signal.aborted) {
      const wait = (await this.#tryOnce(signal))
        ? renewMilliseconds
        : (this.#options.retryMilliseconds ?? retryMilliseconds);
      await delay(wait, undefined, { signal }).catch(() => undefined);
    }
  }

  async #tryOnce(signal: AbortSignal): Promise<boolean> {
    const { logger } = this.#options;
    using deadline = new Deadline([signal]).restart(requestMilliseconds, () => new Error('no answer in time'));
    try {
      this.#held = await this.#write(this.#held ?? (await this.#read(deadline.signal)), deadline.signal);
      if (this.#isLate) logger.info("The agent's lease is renewed again");
      this.#isLate = false;
      return true;
    } catch (error) {
      // It may have been written all the same, or by somebody else: what is there now must be read.
      this.#held = undefined;
      if (signal.aborted || isConflict(error) || isAlreadyExists(error)) return false;
      // An outage is told once: it may last for hours.
      if (!this.#isLate) logger.warn({ err: error }, "The agent's lease could not be renewed");
      this.#isLate = true;
      return false;
    }
  }

  /** By compare-and-swap, but whoever held it before: the latest process of this node is its agent. */
  #write(current: Lease | undefined, signal: AbortSignal): Promise<Lease> {
    const { client, namespace, nodeName, identity } = this.#options;
    const spec = heldBy(identity, current?.spec, agentLeaseDurationMilliseconds, new Date());
    const labels = { ...current?.metadata.labels, [agentLeaseLabel.name]: agentLeaseLabel.value };
    if (current !== undefined) {
      const metadata = { ...current.metadata, labels };
      return client.replace<Lease>(leases, { ...current, metadata, spec }, { signal });
    }
    const metadata = { namespace, name: agentLeaseName(nodeName), labels };
    return client.create(leases, { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata, spec }, { signal });
  }

  async #read(signal: AbortSignal): Promise<Lease | undefined> {
    const { client, namespace, nodeName } = this.#options;
    try {
      return await client.get(leases, { namespace, name: agentLeaseName(nodeName) }, { signal });
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }
}
