/** What one QEMU tells of itself while a test does something to the rest, with its own time stamps. */
import type { Pod } from '../../src/kube/core-resources.ts';
import type { QmpConnection } from '../../src/qmp/connection.ts';
import type { QmpEvent } from '../../src/qmp/events.ts';
import type { System } from './system.ts';

export class QemuWatch implements AsyncDisposable {
  readonly pod: Pod;
  readonly pid: number;
  readonly monitor: QmpConnection;
  readonly events: QmpEvent[] = [];

  private constructor(pod: Pod, pid: number, monitor: QmpConnection) {
    this.pod = pod;
    this.pid = pid;
    this.monitor = monitor;
    monitor.onEvent((event) => this.events.push(event));
  }

  /** From now on; returns when it listens. */
  static async of(system: System, pod: Pod): Promise<QemuWatch> {
    const pid = await system.pidOf(pod);
    const node = system.node(pod.spec.nodeName);
    const monitor = await system.until(`the QEMU of ${pod.metadata.name} answers`, () =>
      system.monitor(node, pod.metadata.uid).catch(() => undefined),
    );
    return new QemuWatch(pod, pid, monitor);
  }

  /** The run and migration states that it told of, in order: `STOP`, `pre-switchover`, `RESUME`. */
  get story(): string[] {
    return this.events.flatMap((event) => {
      if (event.name === 'MIGRATION') return event.data.status;
      return event.name === 'STOP' || event.name === 'RESUME' ? event.name : [];
    });
  }

  /** When it first told of this, in milliseconds since the epoch by its own stamp. */
  async told(word: string, signal = AbortSignal.timeout(60_000)): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const look = (event: QmpEvent) => {
      const said = event.name === 'MIGRATION' ? event.data.status : event.name;
      if (said === word) resolve(event.timestampMilliseconds ?? Number.NaN);
    };
    const stop = this.monitor.onEvent(look);
    signal.addEventListener('abort', () =>
      reject(new Error(`${this.pod.metadata.name} has not told of ${word}, only of ${this.story.join(', ')}`)),
    );
    for (const event of this.events) look(event);
    return await promise.finally(stop);
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    process.kill(this.pid, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.monitor[Symbol.asyncDispose]();
  }
}

export interface TwoSides extends AsyncDisposable {
  readonly source: QemuWatch;
  readonly target: QemuWatch;
}

/** Both QEMUs of a migration whose target pod is placed; from now on also the guest is heard wherever it runs. */
export async function watchSides(system: System, migrationName: string): Promise<TwoSides> {
  const { spec, status } = await system.migration(migrationName);
  const [source, target] = await Promise.all(
    [status?.sourcePod?.uid, status?.targetPod?.uid].map(async (uid) => {
      const pod = (await system.pods()).find(({ metadata }) => metadata.uid === uid);
      if (pod === undefined) throw new Error(`vmm/${migrationName} has no pod ${uid}`);
      await system.listensTo(spec.virtualMachineName, pod.metadata.name ?? '');
      return await QemuWatch.of(system, pod);
    }),
  );
  if (source === undefined || target === undefined) throw new Error('two pods give two watches');
  return {
    source,
    target,
    async [Symbol.asyncDispose]() {
      await Promise.all([source, target].map((watch) => watch[Symbol.asyncDispose]()));
    },
  };
}

/** Begins a migration slowly enough to be interfered with, and returns when bytes flow. */
export async function moveSlowly(
  system: System,
  migrationName: string,
  virtualMachineName: string,
  spec: { transfer?: object; [field: string]: unknown } = {},
): Promise<TwoSides> {
  // 64 MiB that cannot be compressed take six seconds.
  const transfer = { maxBandwidth: '10Mi', ...spec.transfer };
  await system.migrate(migrationName, virtualMachineName, { ...spec, transfer });
  await system.bytesFlow(migrationName);
  return await watchSides(system, migrationName);
}
