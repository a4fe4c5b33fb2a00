/** The agent process, one per node. Its end and its return leave every QEMU alone: what it must know then is in QEMU, in the API and in its state directory. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { hostname } from 'node:os';
import type { Registry } from 'prom-client';
import { labels } from '../api/labels.ts';
import { virtualMachineMigrations, virtualMachines } from '../api/objects.ts';
import { KubeClient } from '../kube/client.ts';
import { pods } from '../kube/core-resources.ts';
import { Informer } from '../kube/informer.ts';
import { type KubeConfig, KubeTransport, loadKubeConfig } from '../kube/transport.ts';
import { startHealthServer } from '../observability/health.ts';
import { createLogger, type Logger } from '../observability/logger.ts';
import { createRegistry } from '../observability/metrics.ts';
import { createQueueMetrics } from '../observability/queue-metrics.ts';
import { runProcess } from '../observability/shutdown.ts';
import type { AgentContext } from './context.ts';
import { AttemptCredentials } from './credentials/attempt-credentials.ts';
import { type Flags, parseFlags, usage } from './flags.ts';
import { HandoverServer } from './handover/server.ts';
import { startMigrationAgent } from './migration/agent.ts';
import { startLeftPods } from './migration/left-pods.ts';
import { showTransfers } from './migration/metrics.ts';
import { forgetEnded, recall } from './migration/remembered.ts';
import { startPodCleanup } from './pod-cleanup.ts';
import { PodQueue } from './pod-queue.ts';
import { PresenceLease } from './presence-lease.ts';
import { QemuRegistry } from './qemu/registry.ts';
import { becomeSingleInstance } from './single-instance.ts';
import { isOnTmpfs, StateDirectory } from './state-directory.ts';
import { startVirtualMachineAgent } from './virtual-machine/agent.ts';

/** How long the API server is waited for before old knowledge is acted on. */
const apiPatienceMilliseconds = 1_000;

async function main(args: readonly string[]): Promise<number> {
  let flags: Flags | undefined;
  let config: KubeConfig;
  try {
    flags = parseFlags(args);
    if (flags === undefined) {
      process.stdout.write(usage);
      return 0;
    }
    config = loadKubeConfig(flags.kubeconfig);
  } catch (error) {
    process.stderr.write(`vmferry-agent: ${(error as Error).message}\n`);
    return 2;
  }
  const logger = createLogger({ name: 'vmferry-agent' }).child({ node: flags.nodeName });
  return runProcess({ logger }, (signal, resources) => run(config, flags, logger, signal, resources));
}

async function run(
  config: KubeConfig,
  flags: Flags,
  logger: Logger,
  signal: AbortSignal,
  resources: AsyncDisposableStack,
): Promise<void> {
  let warm = false;
  // Before anything else is opened: until then this node belongs to another process.
  resources.use(await becomeSingleInstance(flags.stateDirectory, logger, signal));
  const metrics = createRegistry();
  resources.use(await startHealthServer({ port: flags.healthPort, ready: () => warm, metrics }));
  const context = await createContext(config, flags, logger, resources, metrics);
  showTransfers(metrics, () => context.outgoing.cache.list());
  // A guest may stand still right now: if the API server does not answer, migrations go on with what is remembered of them.
  const migrations = [context.outgoing, context.incoming];
  for (const informer of migrations) informer.start();
  const patience = AbortSignal.any([signal, AbortSignal.timeout(apiPatienceMilliseconds)]);
  await Promise.all(migrations.map((informer) => informer.synced(patience))).catch(() => undefined);
  await recall(context);
  resources.use(startMigrationAgent(context));
  // Pods first: what is decided on a VM looks at its pods. Then whoever listens, then what there is to listen to.
  context.pods.start();
  await context.pods.synced(signal);
  resources.use(startVirtualMachineAgent(context));
  context.virtualMachines.start();
  const informers = [context.virtualMachines, context.outgoing, context.incoming];
  await Promise.all(informers.map((informer) => informer.synced(signal)));
  await forgetEnded(context);
  resources.use(startLeftPods(context));
  resources.use(await startPodCleanup(context));
  warm = true;
  resources.use(presenceLease(context, flags));
  logger.info({ podsDirectory: flags.podsDirectory, stateDirectory: flags.stateDirectory }, 'Looking after this node');
  if (!signal.aborted) await once(signal, 'abort');
}

/** Only an agent that looks after its node may say that it is there. */
function presenceLease({ client, nodeName, logger }: AgentContext, { namespace }: Flags): PresenceLease {
  const identity = `${hostname()}_${randomUUID()}`;
  return new PresenceLease({ client, namespace, nodeName, identity, logger });
}

async function createContext(
  config: KubeConfig,
  { nodeName, podsDirectory, stateDirectory, handoverAddress, handoverPort }: Flags,
  logger: Logger,
  resources: AsyncDisposableStack,
  metrics: Registry,
): Promise<AgentContext> {
  const state = await StateDirectory.open(stateDirectory);
  if (!(await isOnTmpfs(stateDirectory))) {
    logger.warn(
      { stateDirectory },
      'The state directory is not on a tmpfs: private keys of migrations are written to a disk',
    );
  }
  const transport = resources.use(new KubeTransport(config, { userAgent: 'vmferry-agent' }));
  const client = new KubeClient(transport);
  const selected = (field: string) => ({ logger, fieldSelector: `${field}=${nodeName}` });
  const handoverServer = resources.use(
    await HandoverServer.listen({ host: handoverAddress ?? '::', port: handoverPort, logger }),
  );
  const migrations = (field: string) =>
    resources.use(new Informer(client, virtualMachineMigrations, selected(`status.${field}`)));
  return {
    nodeName,
    client,
    transport,
    virtualMachines: resources.use(new Informer(client, virtualMachines, selected('status.placement.nodeName'))),
    pods: resources.use(
      new Informer(client, pods, { ...selected('spec.nodeName'), labelSelector: labels.virtualMachine }),
    ),
    outgoing: migrations('sourceNode'),
    incoming: migrations('targetNode'),
    qemus: resources.use(new QemuRegistry({ podsDirectory, state, logger })),
    state,
    credentials: new AttemptCredentials(state),
    handoverServer,
    handoverAddress,
    podQueue: new PodQueue(),
    logger,
    observerOf: createQueueMetrics(metrics),
  };
}

process.exit(await main(process.argv.slice(2)));
