import { setTimeout as delay } from 'node:timers/promises';
import type { VirtualMachineMigration } from '../../api/objects.ts';
import type { TransferSummary } from '../../migration/progress.ts';
import type { AgentContext } from '../context.ts';
import { OutdatedWrite, publishSide, type Side, type Sides } from './publish.ts';

const repeatAfter = { first: 50, most: 1_000 };

/**
 * Writes what an agent has to say of its side of one attempt, in the background: a guest that stands still never waits for the API
 * server. What is said while a write is under way goes into the next one; what was refused is thought over with the newest
 * state; what finds no API server is repeated until there is one. All of it is lost in a crash: the next process finds out again what
 * has to be said.
 */
export class SidePublisher<S extends Side> implements AsyncDisposable {
  readonly #context: AgentContext;
  readonly #side: S;
  readonly #migration: VirtualMachineMigration;
  readonly #stop = new AbortController();
  /** Everything said in this process, also what is written already. */
  readonly #said: Partial<Sides[S]> = {};
  #fields: Partial<Sides[S]> = {};
  #transfer: TransferSummary | undefined;
  #writing: Promise<void> | undefined;

  /** For the attempt that `migration` is at. */
  constructor(context: AgentContext, side: S, migration: VirtualMachineMigration) {
    this.#context = context;
    this.#side = side;
    this.#migration = migration;
  }

  /**
   * What was said of this field: it is written, or will be if this process lives.
   * @param written what the object says of it, for when this process has said nothing.
   */
  said<K extends keyof Sides[S]>(field: K, written?: Sides[S][K]): Sides[S][K] | undefined {
    return field in this.#said ? this.#said[field] : written;
  }

  get isIdle(): boolean {
    return this.#writing === undefined;
  }

  say(fields: Partial<Sides[S]>, transfer?: TransferSummary): void {
    Object.assign(this.#said, fields);
    Object.assign(this.#fields, fields);
    this.#transfer = transfer ?? this.#transfer;
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Gives up what is not written yet. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the attempt is not worked on any more'));
    await this.#writing;
  }

  async #write(): Promise<void> {
    const { signal } = this.#stop;
    let wait = repeatAfter.first;
    while (!signal.aborted && (Object.keys(this.#fields).length > 0 || this.#transfer !== undefined)) {
      const [fields, transfer] = [this.#fields, this.#transfer];
      this.#fields = {};
      this.#transfer = undefined;
      try {
        const migration = this.#current();
        if (migration === undefined) return;
        await publishSide(this.#context, migration, this.#side, fields, { transfer, signal });
        wait = repeatAfter.first;
      } catch (error) {
        this.#fields = { ...fields, ...this.#fields };
        this.#transfer ??= transfer;
        if (error instanceof OutdatedWrite || signal.aborted) continue;
        const { namespace, name } = this.#migration.metadata;
        const about = { err: error, VirtualMachineMigration: { namespace, name }, side: this.#side };
        this.#context.logger.debug(about, 'Could not be written yet');
        await delay(wait, undefined, { signal }).catch(() => undefined);
        wait = Math.min(2 * wait, repeatAfter.most);
      }
    }
  }

  /** The migration as it is now; nothing when it is gone or at another attempt, of which there is nothing to say here. */
  #current(): VirtualMachineMigration | undefined {
    const { metadata, status } = this.#migration;
    const informer = this.#side === 'source' ? this.#context.outgoing : this.#context.incoming;
    const now = informer.cache.get(`${metadata.namespace}/${metadata.name}`);
    return now?.metadata.uid === metadata.uid && now.status?.attempt === status?.attempt ? now : undefined;
  }
}
