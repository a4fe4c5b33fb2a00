import type { QmpConnection } from './connection.ts';

/** What a QEMU binary can do. Plain data, for pure functions. */
export interface Features {
  /** Names of the migration capabilities it lists, in its order. */
  readonly capabilities: readonly string[];
  /** Names of the migration parameters it lists. */
  readonly parameters: readonly string[];
  /** `migrate-incoming` takes `exit-on-error`: a target that fails to load can stay and tell why. */
  readonly incomingExitOnError: boolean;
  /** multifd and post-copy may be on together. */
  readonly multifdWithPostcopy: boolean;
  /** A target leaves the image locks alone until `cont`, whatever `late-block-activate` says. */
  readonly lateActivationAlways: boolean;
}

export async function probe(_connection: QmpConnection, _options?: { signal?: AbortSignal }): Promise<Features> {
  throw new Error('not yet');
}
