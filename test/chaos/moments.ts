/** Notices the facts of one migration as they come to be, and lets others wait for them. */
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { RunVolume } from '../../src/agent/qemu/run-volume.ts';
import type { VirtualMachineMigration } from '../../src/api/objects.ts';
import { isTerminal } from '../../src/api/phases.ts';
import { QmpConnection } from '../../src/qmp/connection.ts';
import type { Diary } from './diary.ts';
import { type PodFolder, sideOf } from './pod-folders.ts';
import type { Boundary, Moment } from './scenario.ts';

/** `ended` is always the last; what has not come by then will not. */
export class Moments {
  readonly #reached = new Set<Boundary>();
  readonly #waiting = new Map<Boundary, PromiseWithResolvers<boolean>>();
  readonly #diary: Diary;
  readonly #createdAt = performance.now();
  #completedAt: number | undefined;
  #handoverMilliseconds: number | undefined;

  constructor(diary: Diary) {
    this.#diary = diary;
  }

  has(boundary: Boundary): boolean {
    return this.#reached.has(boundary);
  }

  /** How long the guest waited between the source's completion and its first run on the target, by the host's clock. */
  get handoverMilliseconds(): number | undefined {
    return this.#handoverMilliseconds;
  }

  completed(at: number | undefined): void {
    this.#completedAt = at;
    this.note('completed');
  }

  tookOver(at: number | undefined): void {
    if (at !== undefined && this.#completedAt !== undefined) this.#handoverMilliseconds ??= at - this.#completedAt;
    this.note('tookOver');
  }

  note(boundary: Boundary): void {
    if (this.#reached.has(boundary)) return;
    this.#reached.add(boundary);
    this.#diary.note(`fact: ${boundary}`);
    this.#waiting.get(boundary)?.resolve(true);
    if (boundary === 'ended') for (const { resolve } of this.#waiting.values()) resolve(false);
  }

  /**
   * Resolves at the moment with true, or with false when the migration has ended without it.
   * @throws the signal's reason
   */
  async at(moment: Moment, signal: AbortSignal): Promise<boolean> {
    if ('randomMilliseconds' in moment) {
      const rest = this.#createdAt + moment.randomMilliseconds - performance.now();
      await delay(Math.max(rest, 0), undefined, { signal });
      return true;
    }
    if (!(await this.#wait(moment.boundary, signal))) return false;
    // The fact was the thing to wait for; this is the chaos that follows it.
    if (moment.jitterMilliseconds > 0) await delay(moment.jitterMilliseconds, undefined, { signal });
    return true;
  }

  async #wait(boundary: Boundary, signal: AbortSignal): Promise<boolean> {
    if (this.#reached.has(boundary)) return true;
    if (this.#reached.has('ended')) return false;
    const waiting = this.#waiting.get(boundary) ?? Promise.withResolvers<boolean>();
    this.#waiting.set(boundary, waiting);
    const aborted = Promise.withResolvers<never>();
    const abort = () => aborted.reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    try {
      return await Promise.race([waiting.promise, aborted.promise]);
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }
}

const phaseBoundaries: readonly Boundary[] = ['Scheduling', 'Checking', 'Transferring', 'RollingBack'];

/** Reads the facts that only the object tells. */
export function noteObject(moments: Moments, { status }: VirtualMachineMigration): void {
  const phases = new Set(status?.timeline?.map(({ phase }) => phase));
  for (const phase of phaseBoundaries) if (phases.has(phase)) moments.note(phase);
  if (status?.owner !== undefined) moments.note('ownershipMoved');
  if (isTerminal(status?.phase)) moments.note('ended');
}

/** A monitor that nobody else uses, open as long as its QEMU lives. */
async function openMonitor(pod: PodFolder, signal: AbortSignal): Promise<QmpConnection> {
  for (;;) {
    signal.throwIfAborted();
    try {
      using volume = RunVolume.open(join(pod.path, '..'), pod.uid);
      using socket = volume.socket('qmp2');
      return await QmpConnection.open(socket.path, { signal });
    } catch {
      await delay(5, undefined, { signal }); // not started yet
    }
  }
}

/** The source's QEMU tells of the transfer. Returns what ends the watch. */
export async function watchSource(moments: Moments, diary: Diary, pod: PodFolder, signal: AbortSignal) {
  const monitor = await openMonitor(pod, signal);
  monitor.onEvent((event) => {
    if (event.name !== 'MIGRATION') {
      diary.note(`source ${sideOf(pod.node, pod.uid)}: ${event.name}`);
      return;
    }
    const { status } = event.data;
    diary.note(`source ${sideOf(pod.node, pod.uid)}: migration ${status}`);
    if (status === 'pre-switchover') moments.note('preSwitchover');
    if (status === 'completed') moments.completed(event.timestampMilliseconds);
    if (status === 'active') void noteFirstBytes(moments, monitor);
  });
  return monitor;
}

async function noteFirstBytes(moments: Moments, monitor: QmpConnection): Promise<void> {
  while (monitor.isOpen) {
    const { status, ram } = await monitor.execute('query-migrate').catch(() => ({ status: 'failed', ram: undefined }));
    if ((ram?.transferred ?? 0) > 0) return moments.note('bytesFlow');
    if (status !== 'active') return;
  }
}

/** The target's QEMU tells when its guest runs. */
export async function watchTarget(moments: Moments, diary: Diary, pod: PodFolder, signal: AbortSignal) {
  const monitor = await openMonitor(pod, signal);
  monitor.onEvent((event) => {
    const what = event.name === 'MIGRATION' ? `migration ${event.data.status}` : event.name;
    diary.note(`target ${sideOf(pod.node, pod.uid)}: ${what}`);
    if (event.name === 'RESUME') moments.tookOver(event.timestampMilliseconds);
  });
  return monitor;
}
