import { type FSWatcher, mkdirSync, readdirSync, rmSync, watch } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { LaunchPlan } from './launch-plan.ts';
import { forbidStart, readProcess, signalProcess } from './process-record.ts';
import type { ProcessState } from './process-state.ts';
import { processFiles, startShim } from './shim.ts';

/** How long a shim may take to note the program's pid. */
const startMilliseconds = 10_000;

/**
 * The processes of a node's pods, each in a folder named after its pod's UID. All that is known of them lies there; disposing of the
 * runtime leaves them alone.
 */
export class PodRuntime implements Disposable {
  readonly #podsFolder: string;
  readonly #onEnd: (uid: string) => void;
  readonly #watchers = new Map<string, FSWatcher>();

  /** @param onEnd called some time after the end of a process that `observe` or `start` has seen running. */
  constructor(root: string, onEnd: (uid: string) => void) {
    this.#podsFolder = path.resolve(root, 'pods');
    this.#onEnd = onEnd;
    mkdirSync(this.#podsFolder, { recursive: true });
  }

  /** UIDs of the pods that left or have a folder. */
  uids(): string[] {
    return readdirSync(this.#podsFolder);
  }

  folder(uid: string): string {
    return path.join(this.#podsFolder, uid);
  }

  async observe(uid: string): Promise<ProcessState> {
    const process = await readProcess(this.folder(uid));
    if (process.state !== 'running' || this.#watchers.has(uid)) return process;
    this.#watch(uid);
    // It may have ended before it was watched.
    return readProcess(this.folder(uid));
  }

  /**
   * Starts the pod's process, unless it was ever started before, and waits until it has a pid.
   * @throws when it could not be started; it may then be tried again.
   */
  async start(uid: string, plan: LaunchPlan): Promise<ProcessState> {
    for (const folder of plan.folders) mkdirSync(folder, { recursive: true });
    await startShim({ podFolder: this.folder(uid), ...plan });
    const deadline = performance.now() + startMilliseconds;
    for (;;) {
      const process = await this.observe(uid);
      if (process.state !== 'absent') return process;
      if (performance.now() > deadline) throw new Error(`the process of pod ${uid} did not start`);
      await delay(1);
    }
  }

  forbidStart(uid: string): void {
    forbidStart(this.folder(uid));
  }

  signal(uid: string, signal: 'SIGTERM' | 'SIGKILL'): void {
    signalProcess(this.folder(uid), signal);
  }

  /** Removes the folder of a pod whose process has ended or cannot start any more. */
  remove(uid: string): void {
    this.#unwatch(uid);
    rmSync(this.folder(uid), { recursive: true, force: true });
  }

  [Symbol.dispose](): void {
    for (const uid of [...this.#watchers.keys()]) this.#unwatch(uid);
  }

  #watch(uid: string): void {
    const watcher = watch(this.folder(uid), (_event, file) => {
      if (file === processFiles.exitCode) this.#onEnd(uid);
    });
    watcher.on('error', () => this.#unwatch(uid));
    this.#watchers.set(uid, watcher);
  }

  #unwatch(uid: string): void {
    this.#watchers.get(uid)?.close();
    this.#watchers.delete(uid);
  }
}
