/** What lives as long as this process works on one attempt at its source: the watch, the publisher, the way to the target's agent. */
import { type VirtualMachineMigration, virtualMachineMigrations } from '../../api/objects.ts';
import { attemptStamp } from '../../migration/attempt.ts';
import type { Cause } from '../../migration/cause.ts';
import {
  type FinalWord,
  heardDirectly,
  sourceSide,
  type TargetVerdict,
  targetSide,
  targetWord,
} from '../../migration/evidence.ts';
import { limits } from '../../migration/limits.ts';
import type { HandoverPath } from '../../migration/source-step.ts';
import type { AgentContext } from '../context.ts';
import type { AttemptKeys } from '../credentials/attempt-credentials.ts';
import { HandoverClient } from '../handover/client.ts';
import { SidePublisher } from './side-publisher.ts';
import { TransferWatch } from './transfer-watch.ts';

const askApiEvery = 1_000;

export class SourceAttempt implements AsyncDisposable {
  readonly podUID: string;
  readonly attempt: number;
  readonly publisher: SidePublisher<'source'>;
  readonly watch: TransferWatch;
  /** When this process began to watch; milliseconds since the epoch. */
  readonly watchedSince = Date.now();
  /** When the target was first known to run the guest; milliseconds since the epoch. */
  tookOverAt: number | undefined;
  readonly #context: AgentContext;
  readonly #uid: string;
  readonly #wake: () => void;
  #client: HandoverClient | undefined;
  /** Where the client calls, and whom. */
  #peer: string | undefined;
  #heard: FinalWord<TargetVerdict> | undefined;
  #telling = false;
  #asking = false;

  constructor(
    context: AgentContext,
    migration: VirtualMachineMigration,
    { podUID, attempt, wake }: { podUID: string; attempt: number; wake: () => void },
  ) {
    this.#context = context;
    this.#uid = migration.metadata.uid;
    this.#wake = wake;
    this.podUID = podUID;
    this.attempt = attempt;
    this.publisher = new SidePublisher(context, 'source', migration);
    this.watch = new TransferWatch(migration.status?.transfer);
  }

  /** What the target's agent has said for good, if it has said it to this process. */
  get heard(): FinalWord<TargetVerdict> | undefined {
    return this.#heard;
  }

  /** Opens the connection to the target's agent as soon as that has said where it is, and who, and closes it when it has spoken for good. */
  reachTarget({ status = {} }: VirtualMachineMigration, own: AttemptKeys): void {
    if (this.#heard !== undefined || targetWord(status) !== undefined) {
      this.leaveTarget();
      return;
    }
    const { handover, certificates } = targetSide(status) ?? {};
    if (handover === undefined || certificates === undefined) return;
    const peer = JSON.stringify([handover, certificates.handover]);
    if (this.#peer === peer) return;
    // It may have come back somewhere else.
    this.leaveTarget();
    this.#peer = peer;
    const client = new HandoverClient({
      name: attemptStamp(this.#uid, this.attempt),
      host: handover.host,
      port: handover.port,
      own: own.handover,
      peerCertificate: certificates.handover,
      logger: this.#context.logger,
    });
    client.onAnswer(({ verdict }) => this.#hear(verdict));
    this.#client = client;
  }

  /** Nothing more is to be said: an agent that serves an attempt no longer turns away, and notes, whoever calls for it. */
  leaveTarget(): void {
    void this.#client?.[Symbol.asyncDispose]();
    this.#client = undefined;
    this.#peer = undefined;
  }

  handoverPath(): HandoverPath {
    const { transport } = this.#context;
    const now = performance.now();
    const last = this.#client?.lastAnswer;
    return {
      api: now - transport.lastAnswerAt() < limits.handoverPath,
      ...(last !== undefined && now - last.at < limits.handoverPath ? { direct: last.answer.qemu } : {}),
    };
  }

  /** Whether the target QEMU waits for the guest and answers, as its agent says when asked now. */
  async targetWaits(): Promise<boolean> {
    if (this.#client === undefined) return false;
    try {
      return (await this.#client.ping()).qemu === 'waiting';
    } catch {
      return false;
    }
  }

  /** Tells the target's agent directly; returns when it has answered, or did not. One call at a time; the step says when to try again. */
  async handOver(resumeTarget: boolean): Promise<void> {
    const client = this.#client;
    if (client === undefined || this.#telling) return;
    const { stoppedAt } = this.watch;
    this.#telling = true;
    await client
      .completed({ resumeTarget, ...(stoppedAt === undefined ? {} : { stoppedAt }) })
      .then(
        ({ verdict }) => this.#hear(verdict),
        (error: unknown) => {
          // What it has said meanwhile, in answer to another call, has ended this one.
          if (this.#heard === undefined) this.#context.logger.info({ err: error }, 'The target was not told directly');
        },
      )
      .finally(() => {
        this.#telling = false;
      });
  }

  /** Returns when the target's agent has answered, or did not. */
  async askToRefuse(cause: Cause): Promise<void> {
    try {
      const answer = await this.#client?.refuse(cause);
      this.#hear(answer?.verdict);
    } catch (error) {
      if (this.#heard !== undefined) return;
      this.#context.logger.warn({ err: error }, "The target's agent could not be asked to end its QEMU");
    }
  }

  /** Keeps `status.transfer` fresh and the way to the API server warm while bytes flow, and never in the way of the switchover. */
  keepTelling(migration: VirtualMachineMigration): void {
    if (!this.publisher.isIdle || this.watch.switchingOver) return;
    if (sourceSide(migration.status ?? {})?.verdict !== undefined) return;
    const summary = this.watch.due(this.watchedSince, Date.now());
    if (summary !== undefined) this.publisher.say({}, summary);
    else if (performance.now() - this.#context.transport.lastAnswerAt() > askApiEvery) this.#askApi(migration);
  }

  #askApi(migration: VirtualMachineMigration): void {
    if (this.#asking) return;
    this.#asking = true;
    const { client, outgoing } = this.#context;
    const { namespace, name } = migration.metadata;
    client
      .get(virtualMachineMigrations, { namespace, name })
      .then((newest) => outgoing.observe(newest))
      .catch((error: unknown) => this.#context.logger.debug({ err: error }, 'The API server does not answer'))
      .finally(() => {
        this.#asking = false;
      });
  }

  #hear(verdict: TargetVerdict | undefined): void {
    if (verdict === undefined) return;
    if (verdict === 'TookOver') this.tookOverAt ??= Date.now();
    if (this.#heard === undefined) {
      this.#heard = heardDirectly(verdict);
      this.leaveTarget();
      this.#wake();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client?.[Symbol.asyncDispose]();
    await this.publisher[Symbol.asyncDispose]();
  }
}
