/** What lives as long as this process works on one attempt at its target: the publisher, and the ear for the source's agent. */
import type { VirtualMachineMigration } from '../../api/objects.ts';
import { Deadline } from '../../kube/deadline.ts';
import { attemptFiles, attemptStamp } from '../../migration/attempt.ts';
import type { Cause } from '../../migration/cause.ts';
import { sourceSide, type TargetVerdict } from '../../migration/evidence.ts';
import type { AgentContext } from '../context.ts';
import type { AttemptKeys } from '../credentials/attempt-credentials.ts';
import type { PingAnswer, VerdictAnswer } from '../handover/messages.ts';
import { type QemuReading, readQemu } from './read-qemu.ts';
import { SidePublisher } from './side-publisher.ts';

/** What the source's agent has told directly, as it lies in the state directory. */
export interface Heard {
  resumeTarget: boolean;
}

/** A QEMU that waits for a guest has nothing else to do; and an answer that comes too late for the caller is none. */
const pingMilliseconds = 300;

export class TargetAttempt implements AsyncDisposable {
  readonly podUID: string;
  readonly attempt: number;
  readonly publisher: SidePublisher<'target'>;
  refusalAsked: Cause | undefined;
  readonly #context: AgentContext;
  readonly #uid: string;
  readonly #wake: () => void;
  #admission: Disposable | undefined;
  readonly #verdict = Promise.withResolvers<TargetVerdict>();

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
    this.publisher = new SidePublisher(context, 'target', migration);
  }

  /** Lets the source's agent in as soon as it has said who it is. */
  admitSource({ status = {} }: VirtualMachineMigration, own: AttemptKeys): void {
    const peerCertificate = sourceSide(status)?.certificates?.handover;
    if (this.#admission !== undefined || peerCertificate === undefined) return;
    this.#admission = this.#context.handoverServer.admit({
      name: attemptStamp(this.#uid, this.attempt),
      own: own.handover,
      peerCertificate,
      handle: {
        ping: () => this.#answerPing(),
        completed: ({ resumeTarget }) => this.#hearCompleted({ resumeTarget }),
        refuse: (cause) => this.#hearRefuse(cause as Cause),
      },
    });
  }

  /** The verdict is final: whoever waits for it is told. */
  answer(verdict: TargetVerdict): void {
    this.#verdict.resolve(verdict);
  }

  async #answerPing(): Promise<PingAnswer> {
    using deadline = new Deadline([]);
    const { signal } = deadline.restart(pingMilliseconds, () => new Error('the target QEMU is silent'));
    // Looking longer, at a monitor of its own thread or for another one, would make the agent itself seem to be away.
    const silent = new Promise<QemuReading>((resolve) => {
      signal.addEventListener('abort', () => resolve({ presence: 'unknown', frozen: false }), { once: true });
    });
    const reading = await Promise.race([readQemu(this.#context.qemus.get(this.podUID), pingMilliseconds), silent]);
    const verdict = this.publisher.said('verdict');
    return { qemu: stateOf(reading), ...(verdict === undefined ? {} : { verdict }) };
  }

  /** Noted before anything else: an agent that comes back without an API server knows it still. */
  async #hearCompleted(heard: Heard): Promise<VerdictAnswer> {
    const file = attemptFiles(this.#uid, this.attempt).heard;
    if (!(await this.#context.state.has(this.podUID, file))) await this.#context.state.write(this.podUID, file, heard);
    return await this.#answerWithVerdict();
  }

  async #hearRefuse(cause: Cause): Promise<VerdictAnswer> {
    this.refusalAsked ??= cause;
    return await this.#answerWithVerdict();
  }

  /** Whoever calls is not kept waiting for ever: the server answers without a verdict when none comes in time. */
  async #answerWithVerdict(): Promise<VerdictAnswer> {
    this.#wake();
    return { verdict: await this.#verdict.promise };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#admission?.[Symbol.dispose]();
    await this.publisher[Symbol.asyncDispose]();
  }
}

function stateOf(reading: QemuReading): PingAnswer['qemu'] {
  switch (reading.presence) {
    case 'present':
      return reading.status.status === 'inmigrate' ? 'waiting' : 'other';
    case 'unknown':
      return 'silent';
    default:
      return 'absent';
  }
}
