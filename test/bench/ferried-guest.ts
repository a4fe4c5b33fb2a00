import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { labels } from '../../src/api/labels.ts';
import {
  type VirtualMachine,
  type VirtualMachineMigration,
  virtualMachineMigrations,
  virtualMachines,
} from '../../src/api/objects.ts';
import { type Pod, pods } from '../../src/kube/core-resources.ts';
import { Informer } from '../../src/kube/informer.ts';
import { processesIn } from '../cluster/run-registry.ts';
import { until } from '../cluster/waiting.ts';
import { runVolume } from '../e2e/consoles.ts';
import { apiVersion, type System } from '../e2e/system.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { type ApiWrites, countByWriter, readApiWrites, writesBetween } from './api-writes.ts';
import { assertIntact, gapsSince, untilBeating, untilReady } from './console.ts';
import type { Figures } from './metric.ts';
import { MigrationDiary } from './migration-diary.ts';
import { cpuMilliseconds, memoryMiB } from './process-usage.ts';
import type { Profile } from './profile.ts';

export interface FerriedRun {
  readonly figures: Figures;
  /** Milliseconds since the object was sent. */
  readonly steps: Readonly<Record<string, number>>;
  readonly writes: ApiWrites;
}

const namespace = 'default';
const patience = 120_000;
/** For what still comes after a move (events are written behind) and for the processes to calm down. */
const calmMilliseconds = 500;

/** A guest that vmferry moves to and fro. */
export class FerriedGuest implements AsyncDisposable {
  readonly #system: System;
  readonly #name: string;
  readonly #recorder: HeartbeatRecorder;
  readonly #machines: Informer<VirtualMachine>;
  readonly #migrations: Informer<VirtualMachineMigration>;
  readonly #pods: Informer<Pod>;
  #moves = 0;
  #diary: MigrationDiary | undefined;
  /** Of the migration under way. */
  #uid: string | undefined;

  private constructor(system: System, name: string, recorder: HeartbeatRecorder) {
    this.#system = system;
    this.#name = name;
    this.#recorder = recorder;
    this.#machines = new Informer<VirtualMachine>(system.client, virtualMachines);
    this.#migrations = new Informer<VirtualMachineMigration>(system.client, virtualMachineMigrations);
    this.#pods = new Informer<Pod>(system.client, pods, { labelSelector: `${labels.virtualMachine}=${name}` });
  }

  /** Resolves when the guest has filled its memory. */
  static async start(system: System, name: string, { guest, memory }: Profile): Promise<FerriedGuest> {
    const recorder = await system.startVirtualMachine(name, guest, { memory });
    await untilReady(recorder);
    const ferried = new FerriedGuest(system, name, recorder);
    await ferried.#watch();
    return ferried;
  }

  freeze(): void {
    process.kill(this.#qemu(), 'SIGSTOP');
  }

  thaw(): void {
    process.kill(this.#qemu(), 'SIGCONT');
  }

  /** From before the object is sent until its phase is seen to be Succeeded. Returns when everything has been cleaned as well. */
  async migrate(): Promise<FerriedRun> {
    await this.#settled();
    const before = await this.#usage();
    await delay(calmMilliseconds);
    const recordedBefore = this.#recorder.output.length;
    const cpuBefore = this.#cpu();
    this.#moves += 1;
    const name = `${this.#name}-${this.#moves}`;
    const startedAt = Date.now();
    const diary = new MigrationDiary();
    this.#diary = diary;
    this.#uid = undefined;
    const { metadata } = await this.#system.client.create(virtualMachineMigrations, {
      apiVersion,
      kind: 'VirtualMachineMigration',
      metadata: { name, namespace },
      spec: { virtualMachineName: this.#name },
    });
    this.#uid = metadata.uid;
    await until(`${name} has ended`, patience, () => this.#ended(name));
    await until('the guest has one pod again', patience, () => this.#pod);
    await untilBeating(this.#recorder, this.#podName);
    await this.#settled();
    diary.note('source pod gone, VM unlocked');
    const cpuAfter = this.#cpu();
    await delay(calmMilliseconds);
    const after = await this.#usage();
    const writes = writesBetween(before, after);
    const { own, others } = countByWriter(writes);
    const progressWrites = diary.progressWrites();
    const { source, transfer } = this.#ended(name)?.status ?? {};
    const since = (time: string | undefined) => (time === undefined ? undefined : Date.parse(time) - startedAt);
    const { arrivedAt, ...gaps } = gapsSince(this.#recorder, recordedBefore, source?.qemuDowntimeMilliseconds);
    const figures = {
      wall: diary.seen.succeeded,
      settled: diary.succeededAt === undefined ? undefined : diary.succeededAt - arrivedAt,
      issued: since(source?.issuedAt),
      firstByte: since(source?.firstByteAt),
      qemuDowntime: source?.qemuDowntimeMilliseconds,
      downtime: source?.downtimeMilliseconds,
      ...gaps,
      wireMiB: transfer?.transferredBytes === undefined ? undefined : transfer.transferredBytes / 2 ** 20,
      writes: own - progressWrites,
      progressWrites,
      platformWrites: others,
      controllerCpu: cpuAfter.controller - cpuBefore.controller,
      agentCpu: cpuAfter.agents - cpuBefore.agents,
      platformCpu: cpuAfter.platform - cpuBefore.platform,
      ...this.#memory(),
    };
    return { figures: known(figures), steps: diary.seen, writes };
  }

  assertIntact(): Promise<void> {
    return assertIntact(this.#recorder, this.#podName);
  }

  /** Deletes the VM and waits until its QEMU is gone. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#system.client.delete(virtualMachines, { namespace, name: this.#name });
    await until('the VM is gone', patience, () => this.#pods.cache.list().length === 0 || undefined);
    for (const informer of [this.#machines, this.#migrations, this.#pods]) await informer[Symbol.asyncDispose]();
  }

  async #watch(): Promise<void> {
    this.#migrations.onChange((_key, migration) => {
      if (migration?.metadata.name === this.#currentName) this.#diary?.observe(migration);
    });
    this.#pods.onChange((_key, pod, previous) => {
      if (pod?.metadata.labels?.[labels.migration] === (this.#uid ?? '')) this.#diary?.observeTargetPod(pod);
      if (pod === undefined && previous !== undefined) this.#diary?.note('source pod gone');
    });
    const informers = [this.#machines, this.#migrations, this.#pods];
    for (const informer of informers) informer.start();
    await Promise.all(informers.map((informer) => informer.synced(AbortSignal.timeout(patience))));
  }

  get #currentName(): string {
    return `${this.#name}-${this.#moves}`;
  }

  /** @throws when it has ended otherwise than well. */
  #ended(name: string): VirtualMachineMigration | undefined {
    const migration = this.#migrations.cache.get(`${namespace}/${name}`);
    const { phase = '', message } = migration?.status ?? {};
    if (phase === 'Failed' || phase === 'Cancelled') throw new Error(`vmm/${name} ended ${phase}: ${message}`);
    return phase === 'Succeeded' ? migration : undefined;
  }

  /** The guest runs, nothing works on it, and nothing is left of its former pods. */
  async #settled(): Promise<void> {
    await until(`vm/${this.#name} has settled`, patience, () => {
      const status = this.#machines.cache.get(`${namespace}/${this.#name}`)?.status;
      const isSettled = status?.phase === 'Running' && status.migration === undefined && this.#pod !== undefined;
      return isSettled || undefined;
    });
  }

  get #pod(): Pod | undefined {
    const [pod, ...others] = this.#pods.cache.list();
    return others.length === 0 ? pod : undefined;
  }

  get #podName(): string {
    if (this.#pod === undefined) throw new Error(`vm/${this.#name} does not have one pod`);
    return this.#pod.metadata.name;
  }

  #qemu(): number {
    const folder = this.#pod && runVolume(this.#system.cluster, this.#pod);
    const [pid, ...others] = folder === undefined ? [] : processesIn(folder).filter(isQemu);
    if (pid === undefined || others.length > 0) throw new Error(`vm/${this.#name} does not have one QEMU`);
    return pid;
  }

  async #usage(): Promise<ApiWrites> {
    return readApiWrites(this.#system.cluster.auditLog);
  }

  get #processes(): { controller: number; agents: number[]; platform: number[] } {
    const { controller, controlPlane, nodes } = this.#system.cluster;
    if (controller === undefined) throw new Error('the cluster has no controller');
    const agents = [...nodes.values()].flatMap(({ agent }) => agent?.pid ?? []);
    const runtimes = [...nodes.values()].map(({ localnode }) => localnode.pid);
    return {
      controller: controller.pid,
      agents,
      platform: [...Object.values(controlPlane).map(({ pid }) => pid), ...runtimes],
    };
  }

  #cpu(): { controller: number; agents: number; platform: number } {
    const { controller, agents, platform } = this.#processes;
    const sum = (pids: number[]) => pids.reduce((time, pid) => time + cpuMilliseconds(pid), 0);
    return { controller: cpuMilliseconds(controller), agents: sum(agents), platform: sum(platform) };
  }

  #memory(): Pick<Figures, 'controllerRss' | 'controllerPeak' | 'agentRss' | 'agentPeak'> {
    const { controller, agents } = this.#processes;
    const ofController = memoryMiB(controller);
    const ofAgents = agents.map(memoryMiB);
    return {
      controllerRss: ofController.resident,
      controllerPeak: ofController.peak,
      agentRss: Math.max(...ofAgents.map(({ resident }) => resident)),
      agentPeak: Math.max(...ofAgents.map(({ peak }) => peak)),
    };
  }
}

/** Beside it there is the shell that waits for its end. */
function isQemu(pid: number): boolean {
  return readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('qemu');
}

function known(figures: { [K in keyof Figures]: Figures[K] | undefined }): Figures {
  return Object.fromEntries(Object.entries(figures).filter(([, value]) => value !== undefined));
}
