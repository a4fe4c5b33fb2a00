/** The whole system as its users meet it, in real pods: what is done and seen goes through kubectl, but for the killing of nodes. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { labels, outOfServiceTaint, systemNamespace } from '../../../src/api/labels.ts';
import type { VirtualMachineSpec } from '../../../src/api/virtual-machine.gen.ts';
import type { Node, Pod } from '../../../src/kube/core-resources.ts';
import { guestRom, type MetalGuestOptions } from '../../guest/metal/rom.ts';
import type { SerialRecord } from '../../guest/serial-record.ts';
import { apiVersion, User } from '../user.ts';
import { Consoles, type QemuStart } from './consoles.ts';
import { applyObjects, kubectl, readSite, type Site } from './site.ts';

/** Real kubelets take their time, more so on a busy machine. Milliseconds. */
const patience = 120_000;

export class KindSystem extends User implements AsyncDisposable {
  readonly site: Site;
  /** Of the VMs under test; under the Pod Security level `restricted`. */
  readonly namespace: string;
  readonly #consoles: Consoles;

  private constructor(site: Site, namespace: string, consoles: Consoles) {
    super(
      {
        kubectl: (...args) => kubectl(['-n', namespace, ...args]),
        apply: (...objects) => applyObjects(objects, '-n', namespace),
      },
      patience,
    );
    this.site = site;
    this.namespace = namespace;
    this.#consoles = consoles;
  }

  /** In a namespace of its own; installs the product if that is yet to be done. */
  static async start(namespace: string): Promise<KindSystem> {
    const site = readSite();
    await install(site);
    const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
    await applyObjects([{ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels } }]);
    return new KindSystem(site, namespace, await Consoles.start(site));
  }

  /** What the README says; of another overlay, if one is named. */
  async install(kustomization = this.site.kustomization): Promise<void> {
    await install({ kustomization });
  }

  /** Removes its VMs, unless nobody knows them any more, and its namespace. */
  async [Symbol.asyncDispose](): Promise<void> {
    const known = (await kubectl(['api-resources', '--api-group=vmferry.io', '-o', 'name'])) !== '';
    if (known) await this.kubectl('delete', 'vmm,vm', '--all', '--timeout=120s');
    await kubectl(['delete', 'namespace', this.namespace, '--timeout=120s']);
    await this.#consoles[Symbol.asyncDispose]();
  }

  kubectl(...args: string[]): Promise<string> {
    return kubectl(['-n', this.namespace, ...args]);
  }

  apply(...objects: object[]): Promise<string> {
    return applyObjects(objects, '-n', this.namespace);
  }

  /** Of a pod by its UID, once its node has told. */
  startOfQemu(podUID: string): QemuStart | undefined {
    return this.#consoles.startOf(podUID);
  }

  console(virtualMachineName: string): SerialRecord {
    return this.#consoles.of(`${this.namespace}/${virtualMachineName}`);
  }

  /** Applies a bare-metal VM whose firmware comes from a ConfigMap, and waits until its guest runs. */
  async startVirtualMachine(
    name: string,
    guest: Partial<MetalGuestOptions> = {},
    spec: Partial<VirtualMachineSpec> = {},
  ): Promise<SerialRecord> {
    const firmware = await this.applyFirmware(name, { totalMiB: 16, heartbeatMilliseconds: 20, ...guest });
    const beating = this.untilBeating(name);
    beating.catch(() => undefined); // awaited below
    await this.applyVirtualMachine(name, { memory: `${(guest.totalMiB ?? 16) + 16}Mi`, firmware, ...spec });
    await beating;
    await this.reached(name, 'Running');
    return this.console(name);
  }

  /** A ConfigMap that a bare-metal guest boots from. @returns how a VM names it. */
  async applyFirmware(name: string, guest: MetalGuestOptions): Promise<VirtualMachineSpec['firmware']> {
    const image = await readFile(await guestRom(guest));
    const configMap = { name: `${name}-firmware`, key: 'guest.rom' };
    await this.apply({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: configMap.name },
      binaryData: { [configMap.key]: image.toString('base64') },
    });
    return { bios: { image: { configMap } } };
  }

  /** Resolves at the next heartbeat of a bare-metal guest. */
  async untilBeating(name: string): Promise<void> {
    await this.console(name).waitFor(/T[0-9A-F]{8}/, AbortSignal.timeout(patience));
  }

  /** Applies a VM that asks for little of its node's processor: the nodes of kind share those of one machine. */
  async applyVirtualMachine(name: string, spec: VirtualMachineSpec): Promise<void> {
    const resources = { requests: { cpu: '50m' } };
    const metadata = { name };
    await this.apply({ apiVersion, kind: 'VirtualMachine', metadata, spec: { resources, ...spec } });
  }

  /** Waits until a guest counts. */
  async goesOn(name: string): Promise<void> {
    const two = /(?:T[0-9A-F]{8}\r?\n[^T]*){2}|(?:counter=\d+ .*\r?\n[^c]*){2}/;
    await this.console(name).waitFor(two, AbortSignal.timeout(patience));
  }

  async podsOf(virtualMachineName: string): Promise<Pod[]> {
    return (await this.pods()).filter(
      ({ metadata }) => metadata.labels?.[labels.virtualMachine] === virtualMachineName,
    );
  }

  /** Names of the nodes that VMs are placed on. */
  async workers(): Promise<string[]> {
    const { items } = JSON.parse(await kubectl(['get', 'nodes', '-o', 'json'])) as { items: Node[] };
    return items
      .filter(({ spec }) => !spec?.taints?.some(({ effect }) => effect === 'NoSchedule'))
      .map(({ metadata }) => metadata.name ?? '');
  }

  /** The node that a VM is on, and another. */
  async nodesOf(virtualMachineName: string): Promise<{ from: string; to: string }> {
    const from = (await this.virtualMachine(virtualMachineName)).status?.placement?.nodeName ?? '';
    const to = (await this.workers()).find((name) => name !== from);
    if (to === undefined) throw new Error('these tests need two nodes for VMs');
    return { from, to };
  }

  /** The product's own pods, by `controller` or `agent`, on one node if it is named. */
  async ownPods(component: 'controller' | 'agent', nodeName?: string): Promise<Pod[]> {
    const list = await kubectl([
      ...['-n', systemNamespace, 'get', 'pods', '-o', 'json'],
      ...['-l', `app.kubernetes.io/component=${component}`],
      ...(nodeName === undefined ? [] : ['--field-selector', `spec.nodeName=${nodeName}`]),
    ]);
    return (JSON.parse(list) as { items: Pod[] }).items;
  }

  /** Deletes pods of the product, and waits until others have taken their place. */
  async replacePods(pods: readonly Pod[]): Promise<void> {
    const names = pods.map(({ metadata }) => metadata.name ?? '');
    await kubectl(['-n', systemNamespace, 'delete', 'pod', ...names]);
    await rolledOut();
  }

  /** Replaces all pods of the product as an upgrade does. */
  async rollOut(): Promise<void> {
    await kubectl(['-n', systemNamespace, 'rollout', 'restart', ...workloads]);
    await rolledOut();
  }

  /** Ends a node as a power cut does. */
  async killNode(name: string): Promise<void> {
    await this.#engine('kill', name);
  }

  /** An operator's word that nothing runs on a node any more. */
  async takeOutOfService(name: string): Promise<void> {
    await kubectl(['taint', 'node', name, `${outOfServiceTaint}=nodeshutdown:NoExecute`]);
  }

  /** Starts a killed node, takes its taint away, and waits until it is ready and the product works on it. */
  async bringBack(name: string): Promise<void> {
    await this.#engine('start', name);
    await kubectl(['wait', '--for=condition=Ready', `node/${name}`, '--timeout=120s']);
    await kubectl(['taint', 'node', name, `${outOfServiceTaint}-`]).catch(() => undefined); // it was not tainted
    await rolledOut();
  }

  /** Gives an image that is on the workers another name there, until the disposal. */
  async tagOnWorkers(image: string, another: string): Promise<AsyncDisposable> {
    const workers = await this.workers();
    const onWorkers = async (...args: string[]) => {
      for (const worker of workers) await this.#engine('exec', worker, 'ctr', '--namespace=k8s.io', 'images', ...args);
    };
    await onWorkers('tag', image, another);
    return { [Symbol.asyncDispose]: () => onWorkers('rm', another) };
  }

  async #engine(...args: string[]): Promise<void> {
    if (this.site.nodes === undefined) throw new Error('this cluster’s nodes are not the tests’ to kill');
    await promisify(execFile)(this.site.nodes.engine, args);
  }
}

const workloads = ['deployment/vmferry-controller', 'daemonset/vmferry-agent'];

/** What the README says: one command; and the way to know that it is done. */
async function install({ kustomization }: Pick<Site, 'kustomization'>): Promise<void> {
  await kubectl(['apply', '-k', kustomization]);
  await rolledOut();
}

async function rolledOut(): Promise<void> {
  for (const workload of workloads)
    await kubectl(['-n', systemNamespace, 'rollout', 'status', workload, '--timeout=180s']);
}
