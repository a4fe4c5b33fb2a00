/** Starts again what ends by itself, as systemd, a DaemonSet or a Deployment would: a controller that has lost its lease ends, for one. */
import type { Cluster } from '../cluster/cluster.ts';
import type { ManagedProcess } from '../cluster/managed-process.ts';

const lookMilliseconds = 100;

export class Keeper implements Disposable {
  readonly #timer: NodeJS.Timeout;
  /** Killed on purpose, and not to be started before the fault is over. */
  readonly #held = new Set<ManagedProcess>();
  /** Is told of each end that nobody had asked for. */
  onEnd: (what: string) => void = () => {};

  constructor(cluster: Cluster) {
    this.#timer = setInterval(() => {
      for (const process of processesOf(cluster)) {
        if (process.ended === undefined || this.#held.has(process)) continue;
        this.onEnd(`${process.name} ended by itself (${process.ended}) and is started again`);
        void process.restart();
      }
    }, lookMilliseconds);
  }

  async kill(process: ManagedProcess): Promise<void> {
    this.#held.add(process);
    await process.kill();
  }

  async restart(process: ManagedProcess): Promise<void> {
    await process.restart();
    this.#held.delete(process);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

function processesOf({ controller, controlPlane, nodes }: Cluster): ManagedProcess[] {
  const ofNodes = [...nodes.values()].flatMap(({ agent, localnode }) => [agent, localnode]);
  return [controller, ...Object.values(controlPlane), ...ofNodes].filter((process) => process !== undefined);
}
