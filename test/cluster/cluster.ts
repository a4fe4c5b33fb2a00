import { execFile } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { ensureClusterBinaries } from '../../dev/build-cluster.ts';
import { checkout } from '../../dev/cache.ts';
import { ensureNetworkTools } from '../../dev/prerequisites.ts';
import type { ApiRequest } from './api-request.ts';
import {
  type Audited,
  auditLog,
  type Surroundings,
  startControllerManager,
  startControlPlane,
  startScheduler,
  untilApiReady,
} from './control-plane.ts';
import { evictionWebhook, type WebhookPlace } from './eviction-webhook.ts';
import { portIn } from './free-port.ts';
import type { ManagedProcess } from './managed-process.ts';
import { createNetwork, type NetworkKind } from './network.ts';
import { createNodeRuntime, type NodeRuntime } from './node-runtime.ts';
import { beginRun, endRun } from './run-registry.ts';
import { until } from './waiting.ts';

export interface ClusterOptions {
  /** Names of the nodes that localnode runs from the start; none unless named. */
  nodes?: string[];
  /** Start an agent on each of these nodes and the controller; both by default when there are nodes. */
  agents?: boolean;
  controller?: boolean;
  /** Have the API server ask the controller about evictions; not by default. */
  webhook?: boolean;
  /** Run the product's processes from bundles, as they ship (the default), or from the sources. */
  bundled?: boolean;
  /** `namespaces` (the default as root, where it works) gives each node a network of its own; `loopback` an address. */
  network?: NetworkKind;
  /** What is in `auditLog`; the writes unless told otherwise. */
  audited?: Audited;
  /** Is told in one line each what goes on. */
  log?: (line: string) => void;
  /** A folder for everything of this cluster. It stays at the end; without it a temporary one is used and removed. */
  directory?: string;
  /** Ends the start; what was started until then is ended too. */
  signal?: AbortSignal;
}

/** A running Kubernetes without containers. Disposing of it ends every process it started and removes its folder. */
export interface Cluster extends AsyncDisposable, NodeRuntime {
  /** etcd's data, certificates, logs, kubeconfigs and the nodes' roots. */
  readonly directory: string;
  /** What was asked of the API server, one JSON object a line (`audit-log.ts`). */
  readonly auditLog: string;
  readonly adminKubeconfig: string;
  readonly kubectlPath: string;
  /** KUBECONFIG and PATH, for programs that use the cluster. */
  readonly env: Record<string, string>;
  readonly server: string;
  readonly etcdEndpoint: string;
  /** The control plane's programs, to be killed, stopped and started. */
  readonly controlPlane: Record<'etcd' | 'apiServer' | 'controllerManager' | 'scheduler', ManagedProcess>;
  /** Returns what kubectl prints; throws with what it complains about. */
  kubectl(...args: string[]): Promise<string>;
  /** Server-side applies objects. */
  apply(...objects: object[]): Promise<void>;
  /** Kills the API server; clients see their connections break. */
  stopApiServer(): Promise<void>;
  /** Starts it on the same address, after killing it when it runs, and waits until it is ready. */
  startApiServer(): Promise<void>;
  restartApiServer(): Promise<void>;
}

/**
 * Starts etcd, an API server, a controller manager and a scheduler, applies what is in `deploy/`, and starts nodes,
 * agents and the controller. Everything ends with the cluster's disposal, and also when this process exits, is
 * interrupted or killed.
 */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const { bundled = true, audited = 'writes', log = () => {} } = options;
  await ensureNetworkTools(log);
  const programs = await ensureClusterBinaries(log, options.signal);
  const run = beginRun(options.directory);
  // A start that failed in one part must not go on in another, where it would start more processes.
  const ended = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, ended.signal]) : ended.signal;
  const end = () => {
    ended.abort(new Error('the cluster has ended'));
    endRun(run);
  };
  try {
    for (const folder of ['certificates', 'logs']) mkdirSync(path.join(run.directory, folder), { recursive: true });
    const surroundings: Surroundings = { directory: run.directory, programs, env: environment(), signal };
    const network = await createNetwork(run, options.network, log);
    const controlPlane = await startControlPlane(surroundings, network.control, audited);
    const { adminKubeconfig, request, apiServer, etcd, server, etcdEndpoint } = controlPlane;
    const scheduler = startScheduler(surroundings, network.control);
    const env = { KUBECONFIG: adminKubeconfig, PATH: `${programs}:${process.env.PATH}` };
    const kubectlPath = path.join(programs, 'kubectl');
    const kubectl = kubectlRunner(kubectlPath, { ...surroundings.env, ...env });
    const { address } = network.control;
    const webhook = options.webhook ? { address, port: await portIn(network.control, 9444) } : undefined;
    const deployed = deploy(kubectl, request, webhook, signal);
    const runtime = createNodeRuntime(surroundings, controlPlane, network, { bundled, webhook });
    const [controllerManager] = await Promise.all([
      deployed.then(() => startControllerManager(surroundings, network.control, request)),
      startProduct(runtime, deployed, options),
    ]);

    const startApiServer = async () => {
      await apiServer.restart();
      await untilApiReady(controlPlane);
    };
    return {
      directory: run.directory,
      auditLog: auditLog(run.directory),
      adminKubeconfig,
      kubectlPath,
      env,
      server,
      etcdEndpoint,
      controlPlane: { etcd, apiServer, controllerManager, scheduler },
      ...runtime,
      get controller() {
        return runtime.controller;
      },
      kubectl: (...args) => kubectl(args),
      apply: async (...objects) => {
        const list = { apiVersion: 'v1', kind: 'List', items: objects };
        await kubectl(['apply', '--server-side', '-f', '-'], JSON.stringify(list));
      },
      stopApiServer: () => apiServer.kill(),
      startApiServer,
      restartApiServer: startApiServer,
      async [Symbol.asyncDispose]() {
        end();
      },
    };
  } catch (error) {
    end();
    throw error;
  }
}

/** The nodes need only the API; the agents and the controller need their resources and service accounts as well. */
async function startProduct(
  runtime: NodeRuntime,
  deployed: Promise<void>,
  { nodes = [], agents = nodes.length > 0, controller = nodes.length > 0 }: ClusterOptions,
): Promise<void> {
  await Promise.all([
    controller && deployed.then(runtime.startController),
    ...nodes.map(async (name) => {
      await Promise.all([runtime.startNode(name), deployed]);
      if (agents) await runtime.startAgent(name);
    }),
  ]);
}

type Kubectl = (args: string[], input?: string) => Promise<string>;

function kubectlRunner(kubectlPath: string, env: Record<string, string>): Kubectl {
  return async (args, input = '') => {
    const running = promisify(execFile)(kubectlPath, args, { env, maxBuffer: 64 * 1024 * 1024 });
    running.child.stdin?.end(input);
    try {
      return (await running).stdout;
    } catch (cause) {
      const complaint = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : String(cause);
      throw new Error(`kubectl ${args.join(' ')}: ${complaint}`, { cause });
    }
  };
}

/** Applies the resources and manifests and waits until the resources are served. */
async function deploy(
  kubectl: Kubectl,
  request: ApiRequest,
  webhook: WebhookPlace | undefined,
  signal: AbortSignal,
): Promise<void> {
  for (const folder of ['deploy/crds', 'deploy/manifests/access'])
    await kubectl(['apply', '--server-side', '-k', path.join(checkout, folder)]);
  if (webhook) await kubectl(['apply', '--server-side', '-f', '-'], JSON.stringify(evictionWebhook(webhook)));
  await until(
    'the custom resources are established',
    30_000,
    async () => {
      const { status, text } = await request('GET', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions');
      return (status === 200 && (JSON.parse(text) as DefinitionList).items.every(isEstablished)) || undefined;
    },
    signal,
  );
}

interface DefinitionList {
  items: { status?: { conditions?: { type: string; status: string }[] } }[];
}

const isEstablished = (definition: DefinitionList['items'][number]) =>
  definition.status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True') ?? false;

/** The variables that programs of the cluster get: no proxy between them, nothing of a test runner's. */
function environment(): Record<string, string> {
  const kept = ['PATH', 'HOME', 'USER', 'LANG', 'TMPDIR', 'TZ'];
  return Object.fromEntries(kept.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));
}
