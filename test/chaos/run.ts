/** One run: a migration, its background, one fault, and the evidence of what became of it all. */
import { setTimeout as delay } from 'node:timers/promises';
import { type VirtualMachineMigration, virtualMachineMigrations } from '../../src/api/objects.ts';
import { isTerminal } from '../../src/api/phases.ts';
import { apiVersion } from '../e2e/system.ts';
import { Diary } from './diary.ts';
import { type Cast, strike, strikeQemu } from './faults.ts';
import type { Ground } from './ground.ts';
import { readLives } from './lives.ts';
import { Moments, noteObject, watchSource, watchTarget } from './moments.ts';
import { persistently } from './persistently.ts';
import { type PodFolder, sideOf } from './pod-folders.ts';
import type { Scenario, Strike } from './scenario.ts';
import { namespace, type Subject } from './subject.ts';
import { type Complaint, type Evidence, judge, type KilledQemu } from './verdict.ts';

export interface RunResult {
  readonly scenario: Scenario;
  /** The terminal phase, `deleted`, or the phase in which it hangs. */
  readonly outcome: string;
  /** The fault found its moment and its victim. */
  readonly hit: boolean;
  readonly sawNeedsAttention: boolean;
  /** The next restart of this VM would have to wait longer. */
  readonly wasRestarted: boolean;
  readonly complaints: readonly Complaint[];
  readonly seconds: number;
  readonly trace: readonly string[];
  /** The object as it was seen last. */
  readonly migration: VirtualMachineMigration | undefined;
}

/** After the fault is over; QEMU's own waits and the project's deadlines for a silent peer fit into it. */
const endMilliseconds = 60_000;
/** An API server that has lost its etcd for a minute, and the nodes it has lost sight of meanwhile, take their time first. */
const settleMilliseconds = 60_000;
const answerMilliseconds = 10_000;
/** For a moment that does not come although the migration goes on. */
const momentMilliseconds = 120_000;

export async function runScenario(ground: Ground, scenario: Scenario): Promise<RunResult> {
  const subject = await ground.subject();
  const startedAt = performance.now();
  const run = new Run(ground, subject, scenario, await ownerOf(subject));
  try {
    const evidence = await run.play();
    const complaints = judge(evidence);
    return { ...run.result(evidence), complaints, seconds: (performance.now() - startedAt) / 1000 };
  } finally {
    await run[Symbol.asyncDispose]();
  }
}

async function ownerOf(subject: Subject): Promise<PodFolder> {
  const owner = await subject.owner(AbortSignal.timeout(answerMilliseconds));
  if (owner === undefined) throw new Error(`vm/${subject.name} is on no node`);
  return owner;
}

class Run implements AsyncDisposable {
  readonly #ground: Ground;
  readonly #subject: Subject;
  readonly #scenario: Scenario;
  readonly #source: PodFolder;
  readonly #name: string;
  readonly #diary = new Diary();
  readonly #moments = new Moments(this.#diary);
  readonly #monitors = new AsyncDisposableStack();
  readonly #over = new AbortController();
  readonly #killedQemus: KilledQemu[] = [];
  readonly #targets: PodFolder[] = [];
  readonly #recordedBefore: number;
  #migration: VirtualMachineMigration | undefined;
  #isCancelled = false;
  #isDeleted = false;
  #isObjectGone = false;
  #hit = false;

  constructor(ground: Ground, subject: Subject, scenario: Scenario, source: PodFolder) {
    this.#ground = ground;
    this.#subject = subject;
    this.#scenario = scenario;
    this.#source = source;
    this.#name = `${subject.name}-${scenario.number}`;
    this.#recordedBefore = subject.recorder.output.length;
  }

  async play(): Promise<Evidence> {
    this.#ground.onMigration = (name, migration) => {
      if (name === this.#name) this.#observe(migration);
    };
    this.#ground.keeper.onEnd = (what) => this.#diary.note(what);
    const stopFollowing = this.#subject.follower.onAppearance((pod) => this.#appeared(pod));
    try {
      this.#keep(await watchSource(this.#moments, this.#diary, this.#source, this.#signal));
      await this.#migrate();
      await Promise.all([this.#faults(), this.#background()]);
      await this.#speedUp();
      await this.#ended();
    } finally {
      stopFollowing();
      this.#over.abort(new Error('the run is over'));
      await this.#monitors.disposeAsync();
    }
    return await this.#evidence();
  }

  result({ owner, output }: Evidence): Omit<RunResult, 'complaints' | 'seconds'> {
    const { status } = this.#migration ?? {};
    const phase = status?.phase ?? 'unseen';
    const timeline = status?.timeline ?? [];
    this.#diary.note(`the VM is at ${owner?.side ?? 'no node'}; ${phase}: ${status?.message ?? ''}`);
    return {
      scenario: this.#scenario,
      outcome: isTerminal(phase) || !this.#isObjectGone ? phase : 'Cancelled',
      hit: this.#hit,
      sawNeedsAttention: timeline.some((entry) => entry.phase === 'NeedsAttention'),
      wasRestarted: readLives(output).length > 1,
      trace: this.#diary.lines,
      migration: this.#migration,
    };
  }

  /** Takes the object away, so that the lists stay short. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ground.onMigration = () => {};
    this.#ground.keeper.onEnd = () => {};
    await this.#delete(AbortSignal.timeout(answerMilliseconds)).catch(() => undefined);
  }

  get #signal(): AbortSignal {
    return AbortSignal.any([this.#over.signal, AbortSignal.timeout(momentMilliseconds)]);
  }

  get #reference() {
    return { namespace, name: this.#name };
  }

  #keep(monitor: AsyncDisposable): void {
    if (this.#monitors.disposed) void monitor[Symbol.asyncDispose]();
    else this.#monitors.use(monitor);
  }

  #appeared(pod: PodFolder): void {
    this.#diary.note(`pod folder ${pod.side} appears`);
    this.#targets.push(pod);
    watchTarget(this.#moments, this.#diary, pod, this.#signal).then(
      (monitor) => this.#keep(monitor),
      () => undefined, // it never got that far
    );
  }

  #observe(migration: VirtualMachineMigration | undefined): void {
    if (migration === undefined) {
      this.#isObjectGone = true;
      this.#moments.note('ended');
      return;
    }
    const { phase, message, source, target } = migration.status ?? {};
    const before = this.#migration?.status;
    this.#migration = migration;
    if (phase !== before?.phase) this.#diary.note(`object: ${phase}: ${message}`);
    if (source?.verdict !== before?.source?.verdict) this.#diary.note(`object: the source says ${source?.verdict}`);
    if (target?.verdict !== before?.target?.verdict) this.#diary.note(`object: the target says ${target?.verdict}`);
    noteObject(this.#moments, migration);
  }

  async #migrate(): Promise<void> {
    const { maxBandwidth, background, targetIsNamed, number } = this.#scenario;
    const others = [...this.#ground.system.cluster.nodes.keys()].filter((name) => name !== this.#source.node);
    const nodeName = others[number % others.length] ?? '';
    const isLate = background.kind === 'failure' && background.by === 'timeout';
    const spec = {
      virtualMachineName: this.#subject.name,
      ...(targetIsNamed && { target: { nodeName } }),
      transfer: { ...(maxBandwidth && { maxBandwidth }), ...(isLate && { timeout: '1s' }) },
    };
    const kind = 'VirtualMachineMigration';
    await persistently(this.#signal, () =>
      this.#ground.system.client.create(virtualMachineMigrations, {
        apiVersion,
        kind,
        metadata: this.#reference,
        spec,
      }),
    );
  }

  async #faults(): Promise<void> {
    const { second } = this.#scenario;
    const [hit] = await Promise.all([this.#strike(this.#scenario), second && this.#strike(second)]);
    this.#hit = hit;
  }

  /** From the fault's moment to its end. False when its moment or its victim was not found. */
  async #strike({ fault, moment }: Strike): Promise<boolean> {
    const what = `${fault.kind} ${fault.who}`;
    if (!(await this.#at(moment))) {
      this.#diary.note(`no fault: the moment to ${what} did not come`);
      return false;
    }
    this.#diary.note(`FAULT: ${what}`);
    const sourceHadCompleted = this.#moments.has('completed');
    const relieve = await strike(this.#cast(), fault);
    if (relieve === undefined) {
      this.#diary.note(`no fault: nobody is there to ${what}`);
      return false;
    }
    if (fault.kind === 'kill') this.#noteKilled(fault.who, sourceHadCompleted);
    await delay(fault.durationMilliseconds);
    await relieve();
    if (fault.durationMilliseconds > 0) this.#diary.note(`over: ${what}`);
    return true;
  }

  async #background(): Promise<void> {
    const { background } = this.#scenario;
    if (background.kind === 'failure' && background.by === 'killedTarget') {
      if (!(await this.#at({ boundary: 'bytesFlow', jitterMilliseconds: 0 }))) return;
      if (strikeQemu(this.#targets.at(-1), 'kill') === undefined) return;
      this.#diary.note("background: the target's QEMU is killed");
      this.#noteKilled('targetQemu', this.#moments.has('completed'));
    }
    if (background.kind === 'cancel') {
      if (!(await this.#at(background.moment))) return;
      this.#diary.note(`background: cancel by ${background.by}`);
      if (background.by === 'deletion') await this.#delete(this.#signal);
      else this.#isCancelled = !isTerminal((await this.#patch({ cancel: true }))?.status?.phase);
    }
  }

  async #at(moment: Scenario['moment']): Promise<boolean> {
    return await this.#moments.at(moment, this.#signal).catch(() => false);
  }

  #cast(): Cast {
    const { targetNode } = this.#migration?.status ?? {};
    const named = this.#migration?.spec.target?.nodeName;
    const targetPod = this.#targets.at(-1);
    const { system, keeper, cables } = this.#ground;
    return {
      cluster: system.cluster,
      keeper,
      cables,
      sourceNode: this.#source.node,
      sourcePod: this.#source,
      targetNode: targetNode ?? targetPod?.node ?? named,
      targetPod,
    };
  }

  #noteKilled(who: string, sourceHadCompleted: boolean): void {
    const role = ({ sourceQemu: 'source', targetQemu: 'target' } as const)[who];
    if (role !== undefined) this.#killedQemus.push({ role, sourceHadCompleted });
  }

  async #speedUp(): Promise<void> {
    if (this.#scenario.maxBandwidth !== undefined) await this.#patch({ transfer: { maxBandwidth: '4Gi' } });
  }

  async #patch(spec: object): Promise<VirtualMachineMigration | undefined> {
    return await persistently(this.#signal, () =>
      this.#ground.system.client.mergePatch<VirtualMachineMigration>(virtualMachineMigrations, this.#reference, {
        spec,
      }),
    );
  }

  async #delete(signal: AbortSignal): Promise<void> {
    this.#isDeleted = true;
    await persistently(signal, () => this.#ground.system.client.delete(virtualMachineMigrations, this.#reference));
  }

  /** The informer may take long to find a server that was away: asks as well. */
  async #ended(): Promise<void> {
    const signal = AbortSignal.timeout(endMilliseconds);
    const isOver = () => this.#isObjectGone || (!this.#isDeleted && isTerminal(this.#migration?.status?.phase));
    while (!isOver() && !signal.aborted) {
      const read = () => this.#ground.system.client.get(virtualMachineMigrations, this.#reference);
      const migration = await persistently(signal, read).catch(() => this.#migration);
      this.#observe(migration);
      if (!isOver()) await delay(100);
    }
    if (!isOver()) this.#diary.note(`not ended after ${endMilliseconds / 1000} s`);
  }

  async #evidence(): Promise<Evidence> {
    const signal = AbortSignal.timeout(2 * settleMilliseconds);
    const leftovers = await this.#subject.settled(signal, settleMilliseconds).catch((error) => [String(error)]);
    const owner = await this.#subject.owner(signal).catch(() => undefined);
    const guestAnswers = owner !== undefined && (await this.#subject.answers(owner.side, answerMilliseconds));
    return {
      scenario: this.#scenario,
      migration: this.#migration?.status,
      isCancelled: this.#isCancelled,
      isDeleted: this.#isDeleted,
      isObjectGone: this.#isObjectGone,
      killedQemus: this.#killedQemus,
      output: this.#subject.recorder.output.slice(this.#recordedBefore),
      sourceSide: sideOf(this.#source.node, this.#source.uid),
      handoverMilliseconds: this.#moments.handoverMilliseconds,
      owner,
      guestAnswers,
      leftovers,
    };
  }
}
