/** Guests in pods like those of VMs, which nobody looks after: a straight script moves them by QMP alone. What vmferry is measured by. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import type { VirtualMachineSpec } from '../../../src/api/virtual-machine.gen.ts';
import { createKeyPair } from '../../../src/certificates/key-pair.ts';
import type { Pod } from '../../../src/kube/core-resources.ts';
import { defineHardware, type HardwareDefinition } from '../../../src/machine/hardware.ts';
import { virtualMachinePod } from '../../../src/machine/pod.ts';
import type { MetalGuestOptions } from '../../guest/metal/rom.ts';
import { type BareMove, type BareMoved, keysFolder, monitorPort, serverName } from './bare-move.ts';
import { recorderPods, testNamespace } from './consoles.ts';
import type { KindSystem } from './system.ts';

const keysSecret = 'bare-keys';

type Size = Pick<VirtualMachineSpec, 'memory' | 'resources'>;

/** The program of `bare-mover.ts`, in a pod of the cluster, and the keys that all streams have in common. */
export class BareGuests implements AsyncDisposable {
  readonly system: KindSystem;
  readonly #mover: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;

  private constructor(system: KindSystem, mover: ChildProcessWithoutNullStreams) {
    this.system = system;
    this.#mover = mover;
    this.#answers = createInterface(mover.stdout)[Symbol.asyncIterator]();
  }

  static async start(system: KindSystem): Promise<BareGuests> {
    await system.apply(await secretOfKeys());
    const [pod = ''] = await recorderPods();
    const program = ['node', '/program/bare-mover.mjs'];
    const mover = spawn('kubectl', ['-n', testNamespace, 'exec', '-i', pod, '--', ...program]);
    mover.stderr.pipe(process.stderr);
    return new BareGuests(system, mover);
  }

  /** Resolves when the guest runs. */
  async launch(name: string, node: string, guest: MetalGuestOptions, spec: Size): Promise<BareGuest> {
    const firmware = await this.system.applyFirmware(name, guest);
    const beating = this.system.untilBeating(name);
    beating.catch(() => undefined); // awaited below
    const bare = new BareGuest(this, name, { ...spec, firmware });
    await bare.start(node);
    await beating;
    return bare;
  }

  async move(move: BareMove): Promise<BareMoved> {
    this.#mover.stdin.write(`${JSON.stringify(move)}\n`);
    const { done, value } = await this.#answers.next();
    if (done) throw new Error('the program that moves guests by QMP has ended');
    return JSON.parse(value);
  }

  /** Guests that are left end with their namespace. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#mover.stdin.end();
    await this.system.kubectl('delete', 'pods', '-l', 'app=bare', '--grace-period=0', '--force', '--ignore-not-found');
  }
}

export class BareGuest {
  readonly name: string;
  readonly #guests: BareGuests;
  readonly #spec: VirtualMachineSpec;
  readonly #hardware: HardwareDefinition;
  /** Names of its pods, the newest last. */
  readonly #pods: string[] = [];

  constructor(guests: BareGuests, name: string, spec: VirtualMachineSpec) {
    this.name = name;
    this.#guests = guests;
    this.#spec = spec;
    this.#hardware = defineHardware({ uid: randomUUID(), spec }, { accelerator: 'tcg' });
  }

  async start(node: string): Promise<void> {
    await this.#guests.system.apply(this.#pod('start', node));
  }

  /** The pod to move to; it need not run when this returns. */
  async prepare(node: string): Promise<void> {
    await this.#guests.system.apply(this.#pod('target', node));
  }

  /** To the pod that was prepared. */
  async move(): Promise<BareMoved> {
    const [source, target] = await Promise.all(this.#pods.slice(-2).map((pod) => this.#addressOf(pod)));
    return await this.#guests.move({ source: source ?? '', target: target ?? '' });
  }

  async #addressOf(pod: string): Promise<string> {
    return await this.#guests.system.until(`pod ${pod} has an address`, async () => {
      const { status } = JSON.parse(await this.#guests.system.kubectl('get', 'pod', pod, '-o', 'json')) as Pod;
      return status?.podIP;
    });
  }

  /** As the controller makes it, but for what binds it to a VM; and with a monitor and keys that others can reach. */
  #pod(role: 'start' | 'target', nodeName: string): object {
    const { site, namespace } = this.#guests.system;
    const podName = `${this.name}-${this.#pods.length + 1}`;
    this.#pods.push(podName);
    const vm = { name: this.name, namespace, uid: this.#hardware.uuid, spec: this.#spec };
    const { apiVersion, kind, spec } = virtualMachinePod({
      ...{ vm, hardware: this.#hardware, podName, role, qemuImage: site.qemuImage },
      ...{ target: { nodeName }, paused: false },
    });
    const [container] = spec.containers;
    const monitor = ['-chardev', `socket,id=far,host=0.0.0.0,port=${monitorPort},server=on,wait=off`];
    const keys = { name: 'keys', mountPath: keysFolder, readOnly: true };
    return {
      apiVersion,
      kind,
      metadata: { name: podName, labels: { app: 'bare' } },
      spec: {
        ...spec,
        readinessGates: [],
        containers: [
          {
            ...container,
            args: [...(container?.args ?? []), ...monitor, '-mon', 'chardev=far,mode=control'],
            lifecycle: {},
            volumeMounts: [...(container?.volumeMounts ?? []), keys],
          },
        ],
        volumes: [...spec.volumes, { name: keys.name, secret: { secretName: keysSecret, items: keyFiles } }],
      },
    };
  }
}

/** QEMU names the files itself: of each end a folder. */
const keyFiles = (['client', 'server'] as const).flatMap((end) =>
  ['ca-cert.pem', `${end}-cert.pem`, `${end}-key.pem`].map((file) => ({
    key: `${end}.${file}`,
    path: `${end}/${file}`,
  })),
);

async function secretOfKeys(): Promise<object> {
  const [client, server] = await Promise.all([createKeyPair(serverName), createKeyPair(serverName)]);
  const filesOf = (end: string, own: typeof client, peer: typeof client) => ({
    [`${end}.ca-cert.pem`]: peer.certificate,
    [`${end}.${end}-cert.pem`]: own.certificate,
    [`${end}.${end}-key.pem`]: own.privateKey,
  });
  const stringData = { ...filesOf('client', client, server), ...filesOf('server', server, client) };
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name: keysSecret }, stringData };
}
