/**
 * Keeps `status.transfer` fresh and the way to the API server warm while bytes flow. It stands beside the serial work on the
 * migration: a slow API server must not hold up the switchover.
 */
import type { VirtualMachineMigration } from '../../api/objects.ts';
import { virtualMachineMigrations } from '../../api/objects.ts';
import { sourceSide } from '../../migration/evidence.ts';
import type { AgentContext } from '../context.ts';
import { publishSide } from './publish.ts';
import type { TransferWatch } from './transfer-watch.ts';

const askEvery = 1_000;

export class ProgressPublisher {
  readonly #context: AgentContext;
  readonly #key: string;
  readonly #startedAt = Date.now();
  #writing: Promise<void> | undefined;

  constructor(context: AgentContext, key: string) {
    this.#context = context;
    this.#key = key;
  }

  /** Called at every look at the transfer; starts at most one request at a time and never throws. */
  tick(watch: TransferWatch): void {
    if (this.#writing !== undefined || watch.switchingOver) return;
    const migration = this.#context.outgoing.cache.get(this.#key);
    if (migration === undefined || sourceSide(migration.status ?? {})?.verdict !== undefined) return;
    const now = Date.now();
    const summary = watch.due(this.#startedAt, now);
    const request =
      summary !== undefined
        ? publishSide(this.#context, this.#context.outgoing, migration, 'source', {}, summary)
        : performance.now() - this.#context.transport.lastAnswerAt() > askEvery
          ? this.#ask(migration)
          : undefined;
    if (request === undefined) return;
    this.#writing = request
      .then(
        () => {},
        (error: unknown) =>
          this.#context.logger.debug({ err: error, migration: this.#key }, 'Progress was not written'),
      )
      .finally(() => {
        this.#writing = undefined;
      });
  }

  /** Resolves when no request is under way. */
  async idle(): Promise<void> {
    await this.#writing;
  }

  async #ask({ metadata: { namespace, name } }: VirtualMachineMigration): Promise<void> {
    this.#context.outgoing.observe(await this.#context.client.get(virtualMachineMigrations, { namespace, name }));
  }
}
