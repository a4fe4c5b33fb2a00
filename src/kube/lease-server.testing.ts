import type { Lease } from './core-resources.ts';
import { ApiError } from './errors.ts';

/** One lease with compare-and-swap, as the API server keeps it. */
export class LeaseServer {
  lease: Lease | undefined;
  isReachable = true;
  writes = 0;

  readonly client = {
    get: async () => this.#answer(),
    create: async (_: unknown, lease: Lease) => {
      this.#reach();
      if (this.lease) throw new ApiError(409, 'AlreadyExists', 'there is one');
      return this.#write(lease);
    },
    replace: async (_: unknown, lease: Lease) => {
      const current = this.#answer();
      if (current.metadata.resourceVersion !== lease.metadata.resourceVersion)
        throw new ApiError(409, 'Conflict', 'it changed');
      return this.#write(lease);
    },
  };

  #answer(): Lease {
    this.#reach();
    if (!this.lease) throw new ApiError(404, 'NotFound', 'no lease');
    return this.lease;
  }

  #reach(): void {
    if (!this.isReachable) throw new ApiError(0, 'ConnectionFailed', 'cut off');
  }

  #write(lease: Lease): Lease {
    this.writes++;
    this.lease = structuredClone(lease);
    this.lease.metadata.resourceVersion = String(this.writes);
    return structuredClone(this.lease);
  }
}
