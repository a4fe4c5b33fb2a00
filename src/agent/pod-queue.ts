/**
 * One task at a time per pod. What powers a guest and what migrates it read QEMU and then act on what they read: between the
 * two nothing else may touch that QEMU.
 */
export class PodQueue {
  readonly #tails = new Map<string, Promise<void>>();

  /**
   * Runs `task` when every earlier task of this pod has ended, well or badly. Tasks of different pods run side by side.
   * Aborting `signal` takes a task that waits out of the queue at once; one that has begun must watch the signal itself.
   * @throws whatever the task throws; the signal's reason.
   */
  run<T>(podUID: string, task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const leave = () => reject(signal?.reason);
    if (signal?.aborted) leave();
    signal?.addEventListener('abort', leave, { once: true });
    const turn = async () => {
      signal?.removeEventListener('abort', leave);
      if (signal?.aborted) return;
      await task().then(resolve, reject);
    };
    const tail = (this.#tails.get(podUID) ?? Promise.resolve()).then(turn).finally(() => {
      if (this.#tails.get(podUID) === tail) this.#tails.delete(podUID);
    });
    this.#tails.set(podUID, tail);
    return promise;
  }

  /** Pods that have a task running or waiting. */
  get size(): number {
    return this.#tails.size;
  }
}
