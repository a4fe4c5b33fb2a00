/** The VM that is moved while things break: one guest, recorded on every node from its first heartbeat on. */
import { setTimeout as delay } from 'node:timers/promises';
import { type VirtualMachine, virtualMachines } from '../../src/api/objects.ts';
import { type Node, nodes, type Pod, pods } from '../../src/kube/core-resources.ts';
import { until } from '../cluster/waiting.ts';
import { podsRemembered, qemusBelow } from '../e2e/leftovers.ts';
import { apiVersion, type System } from '../e2e/system.ts';
import { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { guestRom } from '../guest/metal/rom.ts';
import { leftObjects } from './left-objects.ts';
import { persistently } from './persistently.ts';
import { type PodFolder, PodFollower, podFolders, sideOf } from './pod-folders.ts';

export const namespace = 'default';
const guest = { totalMiB: 32, hotMiB: 2, dirtyMiBPerSecond: 2 };
const patience = 60_000;
/** More than a guest that is started anew could have counted before it is heard. */
const beatsBefore = 128;
/** What a guest says that has filled its memory, or that has even compared it: the first may be gone before somebody listens. */
const filled = /ready\n|S[0-9A-F]{8} (?!0{8})[0-9A-F]{8} /;

export class Subject implements AsyncDisposable {
  readonly name: string;
  readonly recorder = new HeartbeatRecorder();
  readonly follower: PodFollower;
  readonly #system: System;

  private constructor(system: System, name: string) {
    this.#system = system;
    this.name = name;
    this.follower = new PodFollower(system.cluster, this.recorder);
  }

  /** Resolves when the guest has filled its memory and has been counting for a while. */
  static async start(system: System, name: string): Promise<Subject> {
    const subject = new Subject(system, name);
    try {
      await subject.#start();
      return subject;
    } catch (error) {
      await subject[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** As the API has it now; waits for an API server that is away. */
  async read(signal: AbortSignal): Promise<VirtualMachine | undefined> {
    return await persistently(signal, () => this.#system.client.get(virtualMachines, this.reference));
  }

  get reference() {
    return { namespace, name: this.name };
  }

  /** The pod that owns the VM, if it is on a node of this cluster. */
  async owner(signal: AbortSignal): Promise<PodFolder | undefined> {
    const { podUID } = (await this.read(signal))?.status?.placement ?? {};
    return podFolders(this.#system.cluster).find(({ uid }) => uid === podUID);
  }

  /**
   * Waits until the VM is free and nothing but its owner is left anywhere.
   * @returns what else is still there when the time is over; empty when all is well
   */
  async settled(signal: AbortSignal, patienceMilliseconds: number): Promise<string[]> {
    const end = performance.now() + patienceMilliseconds;
    for (;;) {
      const left = await this.#leftovers(signal);
      if (left.length === 0 || performance.now() > end) return left;
      await delay(50, undefined, { signal });
    }
  }

  /** Whether the guest on this side counts on, and has compared all its memory within the time allowed. What it found is in the recording. */
  async answers(side: string, patienceMilliseconds: number): Promise<boolean> {
    const signal = AbortSignal.timeout(patienceMilliseconds);
    try {
      await this.recorder.connected(side, signal);
      const compared = this.recorder.waitFor(/C[0-9A-F]{8}\n/, signal, side);
      const counted = this.recorder.waitFor(/(?:T.{8}\n(?:[^T].*\n)*){10}/, signal, side);
      const both = Promise.all([compared, counted]);
      this.recorder.send(side, 'c');
      await both;
      return true;
    } catch {
      return false;
    }
  }

  /** Deletes the VM and waits until everything of it is gone. */
  async end(): Promise<void> {
    const signal = AbortSignal.timeout(patience);
    await persistently(signal, () => this.#system.client.delete(virtualMachines, this.reference));
    await until(`vm/${this.name} is gone`, patience, async () => {
      const isGone = (await this.read(signal)) === undefined && podFolders(this.#system.cluster).length === 0;
      return isGone || undefined;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.follower[Symbol.dispose]();
    await this.recorder[Symbol.asyncDispose]();
  }

  async #start(): Promise<void> {
    const signal = AbortSignal.timeout(patience);
    const ready = this.recorder.waitFor(filled, signal);
    ready.catch(() => undefined); // awaited below
    const hostPath = await guestRom(guest);
    await persistently(signal, () =>
      this.#system.client.create(virtualMachines, {
        apiVersion,
        kind: 'VirtualMachine',
        metadata: this.reference,
        spec: { memory: `${guest.totalMiB + 16}Mi`, firmware: { bios: { image: { hostPath } } } },
      }),
    );
    await ready;
    await this.recorder.waitFor(new RegExp(`(?:T.{8}\\n(?:[^T].*\\n)*){${beatsBefore}}`), signal);
    await until(`vm/${this.name} runs`, patience, async () => {
      return (await this.read(signal))?.status?.phase === 'Running' || undefined;
    });
  }

  async #leftovers(signal: AbortSignal): Promise<string[]> {
    const { cluster, client } = this.#system;
    const vm = await this.read(signal);
    const { phase, migration, placement } = vm?.status ?? {};
    const owner = placement?.podUID;
    const listed = await persistently(signal, () => client.list<Pod>(pods, { namespace }));
    const listedNodes = await persistently(signal, () => client.list<Node>(nodes));
    const left: string[] = [];
    if (phase !== 'Running') left.push(`the VM is ${phase}: ${vm?.status?.conditions?.at(-1)?.message ?? ''}`);
    if (migration !== undefined) left.push(`the VM is still locked by ${migration.name}`);
    // One that was away for long is not a target yet when it is back.
    for (const { metadata, spec } of listedNodes?.items ?? []) {
      if (spec?.taints?.length)
        left.push(`a taint of ${metadata.name}: ${spec.taints.map(({ key }) => key).join(', ')}`);
    }
    for (const { metadata } of listed?.items ?? []) {
      if (metadata.uid !== owner) left.push(`pod ${metadata.name}`);
    }
    for (const uid of await podsRemembered(cluster)) if (uid !== owner) left.push(`a folder of pod ${uid}`);
    const qemus = await qemusBelow(cluster.directory);
    if (qemus !== 1) left.push(`${qemus} QEMUs`);
    const folder = podFolders(cluster).find(({ uid }) => uid === owner);
    if (folder !== undefined && left.length === 0) {
      for (const name of await leftObjects(folder)) left.push(`${name} in ${sideOf(folder.node, folder.uid)}`);
    }
    return left;
  }
}
