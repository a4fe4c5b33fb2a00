import type { ControllerContext } from '../context.ts';
import { answerRequest } from './evictions.ts';
import { WebhookServer } from './webhook-server.ts';
import { WebhookTrust } from './webhook-trust.ts';

/** Serves the eviction webhook until `resources` are disposed of. The caches must be warm: what is not in them is none of ours. */
export async function startEvictionWebhook(
  context: ControllerContext,
  { port, address }: { port: number; address: string },
  resources: AsyncDisposableStack,
): Promise<void> {
  const { client, logger } = context;
  const server = resources.use(
    await WebhookServer.listen({
      port,
      logger,
      answer: (request, signal) => answerRequest(context, request, signal),
    }),
  );
  const present = server.present.bind(server);
  resources.use(await WebhookTrust.establish({ client, logger, address, present }));
}
