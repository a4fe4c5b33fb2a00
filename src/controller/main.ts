/** The controller process: caches first, then the webhook of every replica, then the lease and the reconcilers. */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { hostname } from 'node:os';
import { KubeClient } from '../kube/client.ts';
import { LeaderElection } from '../kube/leader-election.ts';
import { type KubeConfig, KubeTransport, loadKubeConfig } from '../kube/transport.ts';
import { startHealthServer } from '../observability/health.ts';
import { createLogger, type Logger } from '../observability/logger.ts';
import { createRegistry } from '../observability/metrics.ts';
import { runProcess } from '../observability/shutdown.ts';
import { createContext, informersOf } from './context.ts';
import { createDisruptionBudgetController } from './drain/disruption-budget.ts';
import { startEvictionWebhook } from './drain/webhook.ts';
import { type Flags, parseFlags, usage } from './flags.ts';
import { countMigrations } from './migration/metrics.ts';
import { createMigrationController } from './migration/reconciler.ts';
import { createVirtualMachineController } from './virtual-machine/reconciler.ts';

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
    process.stderr.write(`vmferry-controller: ${(error as Error).message}\n`);
    return 2;
  }
  const logger = createLogger({ name: 'vmferry-controller' });
  return runProcess({ logger }, (signal, resources) => run(config, flags, logger, signal, resources));
}

async function run(
  config: KubeConfig,
  flags: Flags,
  logger: Logger,
  signal: AbortSignal,
  resources: AsyncDisposableStack,
): Promise<void> {
  const transport = resources.use(new KubeTransport(config, { userAgent: 'vmferry-controller' }));
  const client = new KubeClient(transport);
  let warm = false;
  const metrics = createRegistry();
  resources.use(await startHealthServer({ port: flags.healthPort, ready: () => warm, metrics }));
  // Disposed of in reverse order: the reconcilers stop before the lease is given back.
  const election = flags.leaderElect ? resources.use(createElection(client, flags.namespace, logger)) : undefined;
  const context = createContext(client, flags, logger, resources, metrics);
  const controllers = [
    createVirtualMachineController(context),
    createMigrationController(context),
    createDisruptionBudgetController(context),
  ];
  for (const controller of controllers) resources.use(controller);

  // A standby keeps its caches warm, so that it takes over at once; what changes meanwhile waits in the queues.
  const informers = informersOf(context);
  for (const informer of informers) informer.start();
  await Promise.all(informers.map((informer) => informer.synced(signal)));
  const { webhookPort: port, webhookAddress: address } = flags;
  if (port !== 0) await startEvictionWebhook(context, { port, address }, resources);
  warm = true;
  logger.info('Caches are warm');
  await election?.acquire(signal);
  logger.info({ leaderElect: flags.leaderElect }, 'Reconciling');
  countMigrations(metrics, () => context.migrations.cache.list());
  for (const controller of controllers) controller.start();
  if (!signal.aborted) await once(signal, 'abort');
}

function createElection(client: KubeClient, namespace: string, logger: Logger): LeaderElection {
  return new LeaderElection(client, {
    lease: { namespace, name: 'vmferry-controller' },
    identity: `${hostname()}_${randomUUID()}`,
    logger,
    // Another replica may lead already: nothing more may be written, also not in the course of an orderly end.
    onLost: (error) => {
      logger.fatal({ err: error }, 'Leadership lost');
      process.exit(1);
    },
  });
}

process.exit(await main(process.argv.slice(2)));
