/** The whole system as its users meet it: a cluster, its nodes, controller and agents, and kubectl. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RunVolume } from '../../src/agent/qemu/run-volume.ts';
import { KubeClient } from '../../src/kube/client.ts';
import type { Pod } from '../../src/kube/core-resources.ts';
import { KubeTransport, loadKubeConfig } from '../../src/kube/transport.ts';
import { QmpConnection } from '../../src/qmp/connection.ts';
import { type Cluster, type ClusterOptions, startCluster } from '../cluster/cluster.ts';
import type { ManagedProcess } from '../cluster/managed-process.ts';
import { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { guestRom, type MetalGuestOptions } from '../guest/metal/rom.ts';
import { followConsoles, runVolume } from './consoles.ts';
import { apply } from './manifest-files.ts';
import { apiVersion, User } from './user.ts';

export { apiVersion } from './user.ts';

const patience = 60_000;

export class System extends User implements AsyncDisposable {
  readonly cluster: Cluster;
  readonly client: KubeClient;
  readonly #disposals = new AsyncDisposableStack();
  readonly #recorders = new Map<string, HeartbeatRecorder>();

  private constructor(cluster: Cluster) {
    super({ kubectl: cluster.kubectl, apply: (...objects) => apply(cluster, ...objects) });
    this.cluster = cluster;
    const transport = this.#disposals.use(new KubeTransport(loadKubeConfig(cluster.adminKubeconfig)));
    this.client = new KubeClient(transport);
  }

  static async start(options: ClusterOptions = {}): Promise<System> {
    const cluster = await startCluster({ nodes: ['node-a', 'node-b'], controller: true, agents: true, ...options });
    return new System(cluster);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#disposals.disposeAsync();
    await this.cluster[Symbol.asyncDispose]();
  }

  /** A node with its agent. */
  node(name: string | undefined) {
    const found = this.cluster.nodes.get(name ?? '');
    if (found?.agent === undefined) throw new Error(`no agent runs on ${name}`);
    return { ...found, agent: found.agent };
  }

  get controller(): ManagedProcess {
    const { controller } = this.cluster;
    if (controller === undefined) throw new Error('no controller runs');
    return controller;
  }

  /**
   * The API server is back, and with it the controller, which ends when it cannot renew its lease, and is started again. So are
   * Kubernetes' own programs, which look for an API server that was away several times only once in a minute.
   */
  async bringBackApiServer(): Promise<void> {
    const { controlPlane } = this.cluster;
    await this.cluster.startApiServer();
    // One that has not noticed yet gives its lease back, so that the next need not wait for it.
    await this.controller.kill('SIGTERM');
    await Promise.all(
      [this.controller, controlPlane.scheduler, controlPlane.controllerManager].map((process) => process.restart()),
    );
  }

  /** Applies a bare-metal VM, waits until its guest runs (or stands, if it is born paused), and records its console from its first byte on. */
  async startVirtualMachine(
    name: string,
    guest: Partial<MetalGuestOptions> = {},
    spec: { powerState?: 'Paused'; [field: string]: unknown } = {},
  ): Promise<HeartbeatRecorder> {
    const hostPath = await guestRom({ totalMiB: 16, ...guest });
    const recorder = this.#disposals.use(new HeartbeatRecorder());
    this.#disposals.use(followConsoles(this.cluster, this.client, recorder, name));
    this.#recorders.set(name, recorder);
    const born = spec.powerState ?? 'Running';
    const beating = born === 'Running' && recorder.waitFor(/T[0-9A-F]{8}/, AbortSignal.timeout(patience));
    await apply(this.cluster, {
      apiVersion,
      kind: 'VirtualMachine',
      metadata: { name },
      spec: { memory: `${(guest.totalMiB ?? 16) + 16}Mi`, firmware: { bios: { image: { hostPath } } }, ...spec },
    });
    await beating;
    await this.reached(name, born);
    return recorder;
  }

  /** Waits until nothing that the guest prints in this pod can be missed. */
  async listensTo(virtualMachineName: string, podName: string): Promise<void> {
    await this.#recorders.get(virtualMachineName)?.connected(podName, AbortSignal.timeout(patience));
  }

  /** The QEMU of a VM pod on a localnode. */
  async pidOf(pod: Pod): Promise<number> {
    const folder = runVolume(this.cluster, pod);
    if (folder === undefined) throw new Error(`pod ${pod.metadata.name} is on no node of this cluster`);
    return await this.until(`the QEMU of ${pod.metadata.name} runs`, async () => {
      const text = await readFile(join(folder, '../../../process.json'), 'utf8').catch(() => undefined);
      return text === undefined ? undefined : (JSON.parse(text) as { pid: number }).pid;
    });
  }

  /** QEMU's second monitor, which nobody else uses. */
  async monitor({ root }: { root: string }, podUID = ''): Promise<QmpConnection> {
    using volume = RunVolume.open(join(root, 'pods'), podUID);
    using socket = volume.socket('qmp2');
    return await QmpConnection.open(socket.path);
  }
}
