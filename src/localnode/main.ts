/** A node without containers. Its end leaves every QEMU alone, and its return finds them again. */
import { once } from 'node:events';
import { KubeClient } from '../kube/client.ts';
import { Controller } from '../kube/controller.ts';
import { pods } from '../kube/core-resources.ts';
import { Informer } from '../kube/informer.ts';
import { type KubeConfig, KubeTransport, loadKubeConfig } from '../kube/transport.ts';
import { createLogger, type Logger } from '../observability/logger.ts';
import { runProcess } from '../observability/shutdown.ts';
import { type Flags, parseFlags, usage } from './flags.ts';
import { keepNode } from './node-presence.ts';
import { PodReconciler, uidIndex } from './pod-reconciler.ts';
import { PodRuntime } from './pod-runtime.ts';

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
    process.stderr.write(`localnode: ${(error as Error).message}\n`);
    return 2;
  }
  const logger = createLogger({ name: 'localnode' }).child({ node: flags.nodeName });
  return runProcess({ logger }, (signal, resources) => run(config, flags, logger, signal, resources));
}

async function run(
  config: KubeConfig,
  { nodeName, root, address }: Flags,
  logger: Logger,
  signal: AbortSignal,
  resources: AsyncDisposableStack,
): Promise<void> {
  const client = new KubeClient(resources.use(new KubeTransport(config, { userAgent: 'localnode' })));
  const informer = resources.use(
    new Informer(client, pods, { fieldSelector: `spec.nodeName=${nodeName}`, indexes: uidIndex, logger }),
  );
  const runtime = resources.use(new PodRuntime(root, (uid) => controller.enqueue(uid)));
  const reconciler = new PodReconciler({ client, informer, runtime, address, logger });
  const controller = resources.use(
    new Controller({
      name: 'pods',
      concurrency: 8,
      reconcile: (uid) => reconciler.reconcile(uid),
      logger,
      maxBackoffMilliseconds: 5_000,
    }),
  );
  informer.onChange((_key, current, previous) => {
    for (const pod of [current, previous]) if (pod?.metadata.uid !== undefined) controller.enqueue(pod.metadata.uid);
  });
  const presence = keepNode({ client, nodeName, address, logger }, signal);
  informer.start();
  // Only a complete list tells which folders have lost their pods.
  await informer.synced(signal);
  for (const uid of runtime.uids()) controller.enqueue(uid);
  controller.start();
  logger.info({ root, address }, 'Running the pods of this node');
  if (!signal.aborted) await once(signal, 'abort');
  await presence;
}

process.exit(await main(process.argv.slice(2)));
