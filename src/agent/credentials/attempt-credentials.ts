/** What one side of one attempt proves itself with. */

import { createKeyPair, type KeyPair } from '../../certificates/key-pair.ts';
import { attemptFiles, attemptStamp } from '../../migration/attempt.ts';
import type { StateDirectory } from '../state-directory.ts';

export interface AttemptKeys {
  /** QEMU's, for the migration stream. */
  readonly stream: KeyPair;
  /** The agent's, for the call that hands the guest over. */
  readonly handover: KeyPair;
}

/**
 * Makes the keys of attempts, and keeps them in the pod's state folder: the other side trusts the certificates that were published
 * once, so an agent that was restarted must have the same ones. They go with the pod's folder.
 */
export class AttemptCredentials {
  readonly #state: StateDirectory;
  readonly #making = new Map<string, Promise<AttemptKeys>>();

  constructor(state: StateDirectory) {
    this.#state = state;
  }

  /**
   * The keys of the attempt's side whose pod this is, the same at every call. Both certificates carry the attempt's stamp as name.
   * @throws InvalidPodUID, the file system's errors.
   */
  of(podUID: string, migrationUID: string, attempt: number): Promise<AttemptKeys> {
    const file = attemptFiles(migrationUID, attempt).credentials;
    const key = `${podUID}/${file}`;
    const making = this.#making.get(key);
    if (making !== undefined) return making;
    const work = this.#readOrMake(podUID, file, attemptStamp(migrationUID, attempt)).finally(() => {
      this.#making.delete(key);
    });
    this.#making.set(key, work);
    return work;
  }

  async #readOrMake(podUID: string, file: string, name: string): Promise<AttemptKeys> {
    const kept = await this.#state.read<AttemptKeys>(podUID, file);
    if (kept !== undefined) return kept;
    const [stream, handover] = await Promise.all([createKeyPair(name), createKeyPair(name)]);
    const keys: AttemptKeys = { stream, handover };
    await this.#state.write(podUID, file, keys);
    return keys;
  }
}
