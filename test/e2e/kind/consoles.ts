/** The serial consoles of all VMs of a cluster, by the recorders on its nodes and by `kubectl logs`. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import type { Pod } from '../../../src/kube/core-resources.ts';
import { SerialRecord } from '../../guest/serial-record.ts';
import type { ConsoleLine } from './console-line.ts';
import { applyObjects, kubectl, type Site } from './site.ts';

export const testNamespace = 'vmferry-e2e';
const name = 'consoles';

/** By the monotonic clock of its node, milliseconds. */
export interface QemuStart {
  readonly startedAtMilliseconds: number;
  /** Its sockets were there. */
  readonly atMilliseconds: number;
}

export class Consoles implements AsyncDisposable {
  readonly #records = new Map<string, SerialRecord>();
  readonly #qemus = new Map<string, QemuStart>();
  /** The last line of each recorder's run: one that is asked again tells everything again. */
  readonly #heard = new Map<string, number>();
  /** Recorders also remember what earlier VMs of the same names said. */
  readonly #begun = new Date().toISOString();
  readonly #stop = new AbortController();
  readonly #following = new Map<string, Promise<void>>();

  private constructor() {}

  /** Puts recorders on all nodes that are there, and listens to each of them. */
  static async start(site: Site): Promise<Consoles> {
    await applyObjects(await recorderObjects(site));
    await kubectl(['-n', testNamespace, 'rollout', 'status', `daemonset/${name}`, '--timeout=120s']);
    const consoles = new Consoles();
    for (const pod of await recorderPods()) consoles.#following.set(pod, consoles.#follow(pod));
    return consoles;
  }

  /** Of the VM `namespace/name`; filled from now on. */
  of(vm: string): SerialRecord {
    const record = this.#records.get(vm) ?? new SerialRecord();
    this.#records.set(vm, record);
    return record;
  }

  /** Of a pod by its UID; undefined for one that was not heard of, or was there before. */
  startOf(podUID: string): QemuStart | undefined {
    return this.#qemus.get(podUID);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#following.values());
  }

  async #follow(pod: string): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const logs = spawn('kubectl', ['-n', testNamespace, 'logs', '--follow', `--since-time=${this.#begun}`, pod], {
        stdio: ['ignore', 'pipe', 'ignore'],
        signal,
        killSignal: 'SIGKILL',
      });
      await this.#read(logs);
      // Its node was killed, or its log was turned over.
      await delay(500, undefined, { signal }).catch(() => undefined);
    }
  }

  async #read(logs: ChildProcess): Promise<void> {
    const ended = once(logs, 'close').catch(() => undefined);
    if (logs.stdout === null) throw new Error('its output is a pipe');
    createInterface(logs.stdout).on('line', (text) => {
      const line = readLine(text);
      if (line === undefined || line.number <= (this.#heard.get(line.run) ?? -1)) return;
      this.#heard.set(line.run, line.number);
      const { vm, side, atMilliseconds, startedAtMilliseconds } = line;
      if (startedAtMilliseconds === undefined) this.of(vm).push(line);
      else this.#qemus.set(side, { startedAtMilliseconds, atMilliseconds });
    });
    await ended;
  }
}

/** Undefined for a line that was cut off with its node. */
function readLine(text: string): ConsoleLine | undefined {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** One on each node, or on the one that is named. */
export async function recorderPods(nodeName?: string): Promise<string[]> {
  const where = nodeName === undefined ? [] : ['--field-selector', `spec.nodeName=${nodeName}`];
  const list = await kubectl(['-n', testNamespace, 'get', 'pods', '-l', `app=${name}`, ...where, '-o', 'json']);
  return (JSON.parse(list) as { items: Pod[] }).items.map(({ metadata }) => metadata.name ?? '');
}

async function recorderObjects({ image, programs }: Site): Promise<object[]> {
  const metadata = { name, namespace: testNamespace };
  const labels = { app: name };
  const container = {
    name: 'recorder',
    image,
    imagePullPolicy: 'IfNotPresent',
    args: ['/program/console-recorder.mjs'],
    securityContext: { privileged: true, runAsUser: 0 },
    volumeMounts: [
      { name: 'program', mountPath: '/program' },
      { name: 'pods', mountPath: '/var/lib/kubelet/pods', mountPropagation: 'HostToContainer' },
      { name: 'guests', mountPath: '/guests' },
    ],
  };
  return [
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: testNamespace, labels: { 'pod-security.kubernetes.io/enforce': 'privileged' } },
    },
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata,
      data: await contentOf(programs),
    },
    {
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      metadata,
      spec: {
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            hostPID: true,
            terminationGracePeriodSeconds: 0,
            // It outlives what is done to its node.
            tolerations: [{ operator: 'Exists' }],
            containers: [container],
            volumes: [
              { name: 'program', configMap: { name } },
              { name: 'pods', hostPath: { path: '/var/lib/kubelet/pods' } },
              { name: 'guests', hostPath: { path: guestFolder, type: 'DirectoryOrCreate' } },
            ],
          },
        },
      },
    },
  ];
}

/** By file name. */
async function contentOf(folder: string): Promise<Record<string, string>> {
  const names = await readdir(folder);
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), 'utf8')])),
  );
}

/** Of the nodes: files that guests boot from, and which a volume of the cluster shows to VMs. */
export const guestFolder = '/var/lib/vmferry-e2e';
