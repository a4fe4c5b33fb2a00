/** Works on the migrations whose source or target is this node: woken by their objects, their pods, their QEMUs and the other agent. */
import type { VirtualMachineMigration } from '../../api/objects.ts';
import { isTerminal } from '../../api/phases.ts';
import { Controller, type ReconcileResult } from '../../kube/controller.ts';
import type { MigrationStatus } from '../../qmp/commands.ts';
import type { QmpEvent } from '../../qmp/events.ts';
import type { AgentContext } from '../context.ts';
import type { AttemptKeys } from '../credentials/attempt-credentials.ts';
import { podOf } from '../pods-here.ts';
import { forget, remember } from './remembered.ts';
import { workOnSource } from './source.ts';
import { SourceAttempt } from './source-attempt.ts';
import { workOnTarget } from './target.ts';
import { TargetAttempt } from './target-attempt.ts';

/** A QEMU that cannot be reached now is asked again soon: the guest may stand still. */
const maxBackoffMilliseconds = 1_000;
const concurrency = 16;

export function startMigrationAgent(context: AgentContext): AsyncDisposable {
  const sides = [new SourceWorker(context), new TargetWorker(context)];
  context.pods.onChange((_key, current, previous) => {
    const podUID = (current ?? previous)?.metadata.uid;
    for (const side of sides) side.wakePod(podUID);
  });
  for (const side of sides) side.start();
  return {
    async [Symbol.asyncDispose]() {
      for (const side of sides) await side[Symbol.asyncDispose]();
    },
  };
}

interface Attached<Work> {
  /** A migration may have been replaced by another one of its name. */
  readonly uid: string;
  readonly work: Work;
  readonly detach: () => Promise<void>;
}

/**
 * What a QEMU goes through by itself, and nobody has anything to decide at: the target is continued when its source has told, which
 * looks again until it is complete. A look at QEMU then would only hold it up, and the guest stands still.
 */
const inPassing: { readonly [side in 'source' | 'target']: readonly MigrationStatus[] } = {
  source: ['device'],
  target: ['setup', 'active', 'completed'],
};

/** What both sides have in common: a queue of migrations, and one attempt of each that is being worked on. */
abstract class SideWorker<Work extends SourceAttempt | TargetAttempt> implements AsyncDisposable {
  protected readonly context: AgentContext;
  readonly #side: 'source' | 'target';
  readonly #controller: Controller;
  readonly #attached = new Map<string, Attached<Work>>();

  constructor(context: AgentContext, side: 'source' | 'target') {
    this.context = context;
    this.#side = side;
    this.#controller = new Controller({
      name: `migration-${side}`,
      concurrency,
      logger: context.logger,
      maxBackoffMilliseconds,
      reconcile: (key) => this.#reconcile(key),
      observer: context.observerOf(`migration-${side}`),
    });
    this.informer.onChange((key) => this.#controller.enqueue(key));
  }

  protected get informer() {
    return this.#side === 'source' ? this.context.outgoing : this.context.incoming;
  }

  protected abstract open(migration: VirtualMachineMigration, at: At): Work;
  protected abstract connect(migration: VirtualMachineMigration, work: Work, keys: AttemptKeys): void;
  protected abstract step(migration: VirtualMachineMigration, work: Work): Promise<number | undefined>;

  start(): void {
    for (const migration of this.informer.cache.list())
      this.#controller.enqueue(`${migration.metadata.namespace}/${migration.metadata.name}`);
    this.#controller.start();
  }

  wakePod(podUID: string | undefined): void {
    for (const [key, { work }] of this.#attached) if (work.podUID === podUID) this.#controller.enqueue(key);
  }

  async #reconcile(key: string): Promise<ReconcileResult> {
    const migration = this.informer.cache.get(key);
    const at = migration && this.#workOf(key, migration);
    if (migration === undefined || at === undefined) {
      await this.#detach(key);
      return {};
    }
    const work = await this.#attach(key, migration, at);
    const lookAgainAfter = await this.context.podQueue.run(at.podUID, () => this.#step(key, migration, work));
    return lookAgainAfter === undefined ? {} : { requeueAfterMilliseconds: lookAgainAfter };
  }

  /** In the pod's place in the queue: what was true before waiting for it need not be true any more, and notes would outlive the pod. */
  async #step(key: string, { metadata }: VirtualMachineMigration, work: Work): Promise<number | undefined> {
    const migration = this.informer.cache.get(key);
    const at = migration?.metadata.uid === metadata.uid ? this.#workOf(key, migration) : undefined;
    if (migration === undefined || at?.podUID !== work.podUID || at.attempt !== work.attempt) return undefined;
    // What is left then is to end a QEMU, and needs neither keys nor memory.
    if (!isTerminal(migration.status?.phase)) {
      await remember(this.context, migration, at);
      const { podUID, attempt } = at;
      this.connect(migration, work, await this.context.credentials.of(podUID, metadata.uid, attempt));
    }
    return await this.step(migration, work);
  }

  async #attach(key: string, migration: VirtualMachineMigration, at: At): Promise<Work> {
    const known = this.#attached.get(key);
    const { uid } = migration.metadata;
    if (known?.uid === uid && known.work.podUID === at.podUID && known.work.attempt === at.attempt) return known.work;
    await this.#detach(key);
    const qemu = this.context.qemus.get(at.podUID);
    const work = this.open(migration, at);
    const stopEvents = qemu.onEvent((event) => {
      if ('watch' in work) work.watch.observe(event);
      if (!this.#isInPassing(event)) this.#controller.enqueue(key);
    });
    const stopChanges = qemu.onChange(() => this.#controller.enqueue(key));
    const detach = async () => {
      stopEvents();
      stopChanges();
      this.#attached.delete(key);
      await work[Symbol.asyncDispose]();
      await forget(this.context, migration, at);
    };
    this.#attached.set(key, { uid, work, detach });
    return work;
  }

  async #detach(key: string): Promise<void> {
    await this.#attached.get(key)?.detach();
  }

  #isInPassing(event: QmpEvent): boolean {
    if (event.name === 'MIGRATION') return inPassing[this.#side].includes(event.data.status);
    return event.name === 'MIGRATION_PASS' || event.name === 'STOP';
  }

  /** The pod this node has to work on, or nothing: not placed yet, or over and cleaned. */
  #workOf(key: string, { status }: VirtualMachineMigration): At | undefined {
    const podUID = (this.#side === 'source' ? status?.sourcePod : status?.targetPod)?.uid;
    const { attempt } = status ?? {};
    if (podUID === undefined || attempt === undefined) return undefined;
    const sourceMustEnd = this.#side === 'source' && status?.owner !== undefined;
    if (isTerminal(status?.phase) && !(sourceMustEnd && podOf(this.context, podUID) !== undefined)) return undefined;
    return { podUID, attempt, wake: () => this.#controller.enqueue(key) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#controller[Symbol.asyncDispose]();
    for (const { work } of this.#attached.values()) await work[Symbol.asyncDispose]();
  }
}

/** Which attempt, and how it is woken. */
interface At {
  readonly podUID: string;
  readonly attempt: number;
  readonly wake: () => void;
}

class SourceWorker extends SideWorker<SourceAttempt> {
  constructor(context: AgentContext) {
    super(context, 'source');
  }

  protected open(migration: VirtualMachineMigration, at: At): SourceAttempt {
    return new SourceAttempt(this.context, migration, at);
  }

  protected connect(migration: VirtualMachineMigration, work: SourceAttempt, keys: AttemptKeys): void {
    work.reachTarget(migration, keys);
  }

  protected async step(migration: VirtualMachineMigration, work: SourceAttempt): Promise<number | undefined> {
    const lookAgainAfter = await workOnSource({ context: this.context, migration, work });
    if (isTerminal(migration.status?.phase)) work.leaveTarget();
    else if (migration.status?.plan !== undefined) work.keepTelling(migration);
    return lookAgainAfter;
  }
}

class TargetWorker extends SideWorker<TargetAttempt> {
  constructor(context: AgentContext) {
    super(context, 'target');
  }

  protected open(migration: VirtualMachineMigration, at: At): TargetAttempt {
    return new TargetAttempt(this.context, migration, at);
  }

  protected connect(migration: VirtualMachineMigration, work: TargetAttempt, keys: AttemptKeys): void {
    work.admitSource(migration, keys);
  }

  protected async step(migration: VirtualMachineMigration, work: TargetAttempt): Promise<number | undefined> {
    return await workOnTarget({ context: this.context, migration, work });
  }
}
