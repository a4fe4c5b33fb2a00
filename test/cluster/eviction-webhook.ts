import { readFileSync } from 'node:fs';
import path from 'node:path';
import { parseAllDocuments } from 'yaml';
import { checkout } from '../../dev/cache.ts';

/** Where a controller that runs beside the cluster, not in it, listens for questions about evictions. */
export interface WebhookPlace {
  readonly address: string;
  readonly port: number;
}

interface Manifest {
  kind: string;
  webhooks: { clientConfig: { service?: { path: string }; url?: string } }[];
}

/** The webhook configuration as it ships, but for the Service that it names. */
export function evictionWebhook({ address, port }: WebhookPlace): object {
  const file = path.join(checkout, 'deploy/manifests/base/webhook.yaml');
  const manifests = parseAllDocuments(readFileSync(file, 'utf8')).map((document) => document.toJS() as Manifest);
  const configuration = manifests.find(({ kind }) => kind === 'ValidatingWebhookConfiguration');
  if (configuration === undefined) throw new Error(`${file} has no ValidatingWebhookConfiguration`);
  const webhooks = configuration.webhooks.map((webhook) => ({
    ...webhook,
    clientConfig: { url: `https://${address}:${port}${webhook.clientConfig.service?.path}` },
  }));
  return { ...configuration, webhooks };
}
