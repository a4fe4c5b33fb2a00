import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { bundle, type Program } from '../../dev/bundle.ts';
import { checkout } from '../../dev/cache.ts';
import { type ControlPlane, certificateFolder, kubeconfigFile, logFile, type Surroundings } from './control-plane.ts';
import type { WebhookPlace } from './eviction-webhook.ts';
import { portIn } from './free-port.ts';
import { issueCertificates, nodeCertificate, writeKubeconfig } from './identity.ts';
import { ManagedProcess } from './managed-process.ts';
import type { ClusterNetwork, Place } from './network.ts';
import { until } from './waiting.ts';

/** A Node that localnode runs on this machine. */
interface ClusterNode extends Place {
  name: string;
  /** localnode's root: pods are in `<root>/pods/<uid>`. */
  root: string;
  localnode: ManagedProcess;
  agent?: ManagedProcess;
}

/** The product's own processes in a cluster. */
export interface NodeRuntime {
  readonly nodes: ReadonlyMap<string, ClusterNode>;
  /** The controller that was started last, if any. */
  readonly controller: ManagedProcess | undefined;
  /** Adds a node, whose QEMUs are looked for in `env.PATH`; returns when pods can be scheduled to it. */
  startNode(name: string, env?: Record<string, string>): Promise<ClusterNode>;
  /** Starts the agent of a node that runs, under an identity bound to its Node object. Ends a former one. */
  startAgent(name: string): Promise<ManagedProcess>;
  /** Starts the controller. Ends a former one. */
  startController(): Promise<ManagedProcess>;
  /** What the controller, or the agent of this node, tells Prometheus now. */
  metrics(process: 'controller' | { agentOf: string }): Promise<string>;
}

const nodeDeadline = 60_000;
const tokenLifetime = 24 * 60 * 60;

export function createNodeRuntime(
  surroundings: Surroundings,
  controlPlane: Pick<ControlPlane, 'server' | 'request'>,
  network: ClusterNetwork,
  { bundled, webhook }: { bundled: boolean; webhook: WebhookPlace | undefined },
): NodeRuntime {
  const { directory, signal } = surroundings;
  const { server, request } = controlPlane;
  const certificates = certificateFolder(directory);
  const nodes = new Map<string, ClusterNode>();
  let controller: ManagedProcess | undefined;
  /** `host:port` of each program's health server. */
  const healthServers = new Map<string, string>();

  async function startProgram(
    program: Program,
    name: string,
    { netns }: Place,
    flags: Record<string, string>,
    env: Record<string, string> = {},
  ) {
    const entry = bundled ? await bundle(program) : path.join(checkout, 'src', program, 'main.ts');
    signal.throwIfAborted();
    return new ManagedProcess({
      name,
      command: process.execPath,
      args: [entry, ...Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value])],
      env: { ...surroundings.env, ...env },
      cwd: directory,
      logFile: logFile(directory, name),
      netns,
    });
  }

  async function healthPort(name: string, place: Place): Promise<string> {
    const port = await portIn(place, 9440);
    healthServers.set(name, `${place.address}:${port}`);
    return String(port);
  }

  async function metrics(process: 'controller' | { agentOf: string }): Promise<string> {
    const name = process === 'controller' ? process : `agent-${process.agentOf}`;
    const answer = await fetch(`http://${healthServers.get(name)}/metrics`);
    if (!answer.ok) throw new Error(`no metrics of ${name} (HTTP ${answer.status}): ${await answer.text()}`);
    return await answer.text();
  }

  async function writeTokenKubeconfig(name: string, account: string, boundObjectRef?: object): Promise<string> {
    const url = `/api/v1/namespaces/vmferry-system/serviceaccounts/${account}/token`;
    const { status, text } = await request('POST', url, {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { expirationSeconds: tokenLifetime, ...(boundObjectRef && { boundObjectRef }) },
    });
    if (status !== 201) throw new Error(`no token for the service account ${account} (HTTP ${status}): ${text}`);
    const { token } = (JSON.parse(text) as { status: { token: string } }).status;
    writeKubeconfig(kubeconfigFile(directory, name), server, certificates, { token });
    return kubeconfigFile(directory, name);
  }

  async function startNode(name: string, env?: Record<string, string>): Promise<ClusterNode> {
    const [place] = await Promise.all([
      network.addNode(name),
      issueCertificates(surroundings.programs, certificates, [nodeCertificate(name)]),
    ]);
    const root = path.join(directory, 'nodes', name);
    mkdirSync(root, { recursive: true });
    const kubeconfig = kubeconfigFile(directory, `localnode-${name}`);
    writeKubeconfig(kubeconfig, server, certificates, { certificate: `node-${name}` });
    const flags = { 'node-name': name, kubeconfig, root, address: place.address };
    const localnode = await startProgram('localnode', `localnode-${name}`, place, flags, env);
    await until(
      `the node ${name} is ready`,
      nodeDeadline,
      async () => {
        localnode.assertRunning();
        const { status, text } = await request('GET', `/api/v1/nodes/${name}`);
        return (status === 200 && isSchedulable(JSON.parse(text) as Node)) || undefined;
      },
      signal,
    );
    const node: ClusterNode = { ...place, name, root, localnode };
    nodes.set(name, node);
    return node;
  }

  async function startAgent(name: string): Promise<ManagedProcess> {
    const node = nodes.get(name);
    if (!node) throw new Error(`the cluster has no node ${name}`);
    await node.agent?.kill();
    const { text } = await request('GET', `/api/v1/nodes/${name}`);
    const { uid } = (JSON.parse(text) as Node).metadata;
    const nodeReference = { apiVersion: 'v1', kind: 'Node', name, uid };
    node.agent = await startProgram('agent', `agent-${name}`, node, {
      'node-name': name,
      kubeconfig: await writeTokenKubeconfig(`agent-${name}`, 'vmferry-agent', nodeReference),
      'pods-directory': path.join(node.root, 'pods'),
      'state-directory': path.join(node.root, 'state'),
      'handover-address': node.address,
      'health-port': await healthPort(`agent-${name}`, node),
    });
    return node.agent;
  }

  async function startController(): Promise<ManagedProcess> {
    await controller?.kill();
    controller = await startProgram('controller', 'controller', network.control, {
      kubeconfig: await writeTokenKubeconfig('controller', 'vmferry-controller'),
      accelerator: 'tcg',
      'qemu-image': 'localnode.vmferry.io/qemu',
      ...(webhook && { 'webhook-port': String(webhook.port), 'webhook-address': webhook.address }),
      'health-port': await healthPort('controller', network.control),
    });
    return controller;
  }

  return {
    nodes,
    get controller() {
      return controller;
    },
    startNode,
    startAgent,
    startController,
    metrics,
  };
}

interface Node {
  metadata: { uid: string };
  spec: { taints?: object[] };
  status: { conditions?: { type: string; status: string }[] };
}

/** A Node is born tainted; the node lifecycle controller takes the taint away some time after it became ready. */
function isSchedulable({ spec, status }: Node): boolean {
  const ready = status.conditions?.some((condition) => condition.type === 'Ready' && condition.status === 'True');
  return ready === true && (spec.taints ?? []).length === 0;
}
