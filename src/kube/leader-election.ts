import type { Logger } from '../observability/logger.ts';
import type { KubeClient } from './client.ts';
import type { ObjectRef } from './resource.ts';

export interface LeaderElectionOptions {
  readonly lease: ObjectRef & { namespace: string };
  /** Of this process, unlike any other's: host name and a random part. */
  readonly identity: string;
  /** Leadership ended against this process' will: it must stop acting at once, best by exiting. */
  readonly onLost: (error: Error) => void;
  readonly logger: Logger;
  /** How long a leader that is not heard of keeps the lease; 15 s. */
  readonly leaseDurationMilliseconds?: number;
  /** A leader that could not renew for so long gives up; 10 s. */
  readonly renewDeadlineMilliseconds?: number;
  /** Between two tries; 2 s. */
  readonly retryPeriodMilliseconds?: number;
}

/** At most one leader among the processes that share a Lease. */
export declare class LeaderElection implements AsyncDisposable {
  constructor(client: KubeClient, options: LeaderElectionOptions);
  /** Resolves when this process leads; it then renews the lease until it is disposed of, which releases it. */
  acquire(signal: AbortSignal): Promise<void>;
  isLeader(): boolean;
  [Symbol.asyncDispose](): Promise<void>;
}
