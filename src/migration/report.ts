/** Gathers what one step of the controller says in the status: phase, timeline, conditions. Starts from the status as it was read. */
import { setCondition } from '../api/conditions.ts';
import type { VirtualMachineMigration } from '../api/objects.ts';
import type { MigrationPhase } from '../api/phases.ts';
import type { MigrationReason } from '../api/reasons.ts';
import type { VirtualMachineMigrationStatus } from '../api/virtual-machine-migration.gen.ts';

type Endpoint = NonNullable<VirtualMachineMigrationStatus['plan']>['endpoint'];

type MigrationCondition =
  | 'Succeeded'
  | 'Finished'
  | 'PreflightPassed'
  | 'TargetReady'
  | 'SourceCleaned'
  | 'TargetCleaned'
  | 'CancelRejected';

interface Explanation {
  reason: MigrationReason;
  message: string;
}

const maxMessage = 4000;

export class Report {
  #status: VirtualMachineMigrationStatus;
  readonly #now: string;
  readonly #generation: number;

  constructor(migration: VirtualMachineMigration, now: number) {
    this.#status = { ...migration.status };
    this.#now = new Date(now).toISOString();
    this.#generation = migration.metadata.generation;
  }

  get current(): Readonly<VirtualMachineMigrationStatus> {
    return this.#status;
  }

  status(): VirtualMachineMigrationStatus {
    if (this.#status.phase !== undefined && this.#status.observedGeneration !== this.#generation) {
      this.#status.observedGeneration = this.#generation;
    }
    return this.#status;
  }

  begin(source: { node: string; pod: { name: string; uid: string } }): void {
    this.#status.attempt = 1;
    this.#status.sourceNode = source.node;
    this.#status.sourcePod = source.pod;
    this.#status.source = this.#opened(source.pod.uid);
    for (const type of ['Succeeded', 'Finished'] as const)
      this.condition(type, 'Unknown', 'InProgress', 'The migration is under way.');
  }

  /** The attempt has failed and another follows: what it was about is noted, and everything of it is taken back. */
  beginNextAttempt({ reason, message }: Explanation): void {
    const { attempt = 1, targetNode, sourcePod, attempts = [] } = this.#status;
    const failed = {
      attempt,
      ...(targetNode === undefined ? {} : { targetNode }),
      result: 'Failed',
      reason,
      message: message.slice(0, 1024).trim(),
      finishedAt: this.#now,
    };
    const { plan: _plan, abort: _abort, targetNode: _node, targetPod: _pod, target: _target, ...kept } = this.#status;
    const ofAttempt = new Set(['PreflightPassed', 'TargetReady', 'TargetCleaned']);
    this.#status = {
      ...kept,
      attempt: attempt + 1,
      attempts: [...attempts, failed].slice(-16),
      conditions: (kept.conditions ?? []).filter(({ type }) => !ofAttempt.has(type)),
    };
    this.#status.source = this.#opened(sourcePod?.uid ?? '');
  }

  placed(target: { node: string; pod: { name: string; uid: string } }): void {
    this.#status.targetNode = target.node;
    this.#status.targetPod = target.pod;
    const opened = this.#opened(target.pod.uid);
    if (this.#status.target?.podUID !== opened.podUID) this.#status.target = opened;
  }

  /**
   * An agent's side is opened here, with a sequence number for its first write to be tested against: else a first write that is
   * delayed on its way could overwrite the agent's final word.
   */
  #opened(podUID: string): { attempt: number; podUID: string; sequence: number } {
    return { attempt: this.#status.attempt ?? 1, podUID, sequence: 0 };
  }

  plan(endpoint: Endpoint, protocol: number): void {
    this.#status.plan = { attempt: this.#status.attempt ?? 1, protocol, endpoint };
  }

  abort(cause: Explanation, { sourceGone = false } = {}): void {
    const before = this.#status.abort;
    if (before !== undefined && (before.sourceGone || !sourceGone)) return;
    const message = cause.message.slice(0, maxMessage);
    this.#status.abort = {
      attempt: this.#status.attempt ?? 1,
      reason: cause.reason,
      message,
      ...(sourceGone ? { sourceGone } : {}),
    };
  }

  /** The source ended well: its agent has told of the end before its node could tell of the exit code. */
  abortedAfterAll(cause: Explanation): void {
    const { abort } = this.#status;
    if (abort?.sourceGone && abort.reason === 'SourceLost')
      this.#status.abort = { ...abort, reason: cause.reason, message: cause.message.slice(0, maxMessage) };
  }

  owner(owner: { podUID: string; generation: number }): void {
    this.#status.owner = owner;
  }

  /** The VM did not move, or not after all: its pod there is nothing to be cleaned. */
  staysAtSource(): void {
    const { owner: _, ...status } = this.#status;
    const conditions = status.conditions?.filter(({ type }) => type !== 'SourceCleaned');
    this.#status = { ...status, ...(conditions === undefined ? {} : { conditions }) };
  }

  /** Only a VM that has moved is at 100 per cent. */
  moved(): void {
    this.#status.transfer = { ...this.#status.transfer, progress: '100%', progressPercent: 100 };
  }

  copyDowntime(milliseconds: number | undefined): void {
    if (milliseconds === undefined || this.#status.downtimeMilliseconds === milliseconds) return;
    this.#status.downtimeMilliseconds = milliseconds;
    this.#status.downtime = `${milliseconds}ms`;
  }

  rejectCancel(): void {
    this.condition(
      'CancelRejected',
      'True',
      'AfterHandover',
      'The source has handed the guest over: the migration can only be completed.',
    );
  }

  condition(type: MigrationCondition, status: 'True' | 'False' | 'Unknown', reason: string, message: string): void {
    const change = { type, status, reason, message: message.slice(0, maxMessage) };
    this.#status.conditions = setCondition(this.#status.conditions, change, this.#now);
  }

  /** @returns no effects, so that a decision can end with it. */
  phase(phase: MigrationPhase, { reason, message }: Explanation): { effects: [] } {
    if (this.#status.phase !== phase) {
      this.#status.timeline = [...(this.#status.timeline ?? []), { phase, at: this.#now }].slice(-32);
    }
    this.#status.phase = phase;
    this.#status.reason = reason;
    this.#status.message = message.slice(0, maxMessage).trim();
    return { effects: [] };
  }

  end(phase: 'Succeeded' | 'Failed' | 'Cancelled', explanation: Explanation): { effects: [] } {
    this.phase(phase, explanation);
    const { reason, message } = explanation;
    this.condition('Succeeded', phase === 'Succeeded' ? 'True' : 'False', reason, message);
    this.condition('Finished', 'True', reason, message);
    return { effects: [] };
  }

  /** Milliseconds since the epoch at which the present phase was entered. */
  phaseEnteredAt(): number {
    const entry = this.#status.timeline?.findLast(({ phase }) => phase === this.#status.phase);
    return Date.parse(entry?.at ?? this.#now);
  }

  /** Milliseconds since the epoch since when a condition has its status; now when it is not there. */
  conditionSince(type: MigrationCondition): number {
    const condition = this.#status.conditions?.find((candidate) => candidate.type === type);
    return Date.parse(condition?.lastTransitionTime ?? this.#now);
  }
}
