/** Two replicas whose certificates live for seconds, and an API server that asks them in turns. */
import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebhookServer } from '../../src/controller/drain/webhook-server.ts';
import { WebhookTrust } from '../../src/controller/drain/webhook-trust.ts';
import { KubeClient } from '../../src/kube/client.ts';
import { type Pod, pods, validatingWebhookConfigurations } from '../../src/kube/core-resources.ts';
import { KubeTransport, loadKubeConfig } from '../../src/kube/transport.ts';
import { createLogger } from '../../src/observability/logger.ts';
import { type Cluster, startCluster } from '../cluster/cluster.ts';
import { evict } from '../cluster/evict.ts';
import { evictionWebhook } from '../cluster/eviction-webhook.ts';
import { until } from '../cluster/waiting.ts';
import { TcpProxy } from './kube/tcp-proxy.ts';

const deadline = 30_000;
const reference = { name: 'vmferry-eviction' };
const pod = 'to-be-evicted';
const lifetimes = { lifetimeMilliseconds: 4_500, checkMilliseconds: 300 };
const resources = new AsyncDisposableStack();
let cluster: Cluster;
let client: KubeClient;

interface Replica {
  /** Between the API server and this replica. */
  readonly proxy: TcpProxy;
  readonly place: { address: string; port: number };
  /** Certificates presented, and questions answered. */
  readonly counts: { presented: number; answered: number };
}

beforeAll(async () => {
  cluster = resources.use(await startCluster({ network: 'loopback' }));
  client = new KubeClient(resources.use(new KubeTransport(loadKubeConfig(cluster.adminKubeconfig))));
  await client.create<Pod>(pods, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: pod, namespace: 'default' },
    spec: { containers: [{ name: 'c', image: 'i' }] },
  });
});
afterAll(() => resources.disposeAsync());

async function aReplica(): Promise<Replica> {
  const logger = createLogger({ name: 'test' });
  const counts = { presented: 0, answered: 0 };
  const answer = async () => {
    counts.answered++;
    return 'Not yet.';
  };
  const server = resources.use(await WebhookServer.listen({ port: 0, logger, answer }));
  const proxy = resources.use(new TcpProxy(`https://127.0.0.1:${server.port}`));
  const { hostname: address, port } = new URL(await proxy.listen());
  const present = (own: Parameters<typeof server.present>[0]) => {
    counts.presented++;
    server.present(own);
  };
  resources.use(await WebhookTrust.establish({ client, logger, address, present, ...lifetimes }));
  return { proxy, place: { address, port: Number(port) }, counts };
}

async function bundle(): Promise<X509Certificate[]> {
  const { webhooks = [] } = await client.get(validatingWebhookConfigurations, reference);
  const pem = Buffer.from(webhooks[0]?.clientConfig.caBundle ?? '', 'base64').toString();
  return (pem.match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g) ?? []).map((one) => new X509Certificate(one));
}

/** A dry run that nobody answers for is allowed. */
const isRefused = async () => (await evict(client, pod, { dryRun: true })).message.includes('Not yet.');

/** Applied without a bundle, as by a user who installs a newer version. */
const install = ({ place }: Replica) => cluster.apply(evictionWebhook(place));

test('through every change of both certificates each question is answered', async () => {
  const first = await aReplica();
  await install(first);
  await until('the first is trusted, which began before the configuration was there', deadline, async () =>
    (await isRefused()) ? true : undefined,
  );
  const second = await aReplica();
  const [one, other] = await bundle();
  expect(other).toBeDefined();
  expect(one?.raw.equals(other?.raw ?? Buffer.alloc(0))).toBe(false);

  let asked = 0;
  for (let turn = 0; Math.min(first.counts.presented, second.counts.presented) < 4; turn++) {
    const [replica, idle] = turn % 2 === 0 ? [second, first] : [first, second];
    await install(replica);
    const { answered } = replica.counts;
    await until('the API server asks the other one', deadline, async () => {
      asked++;
      expect(await isRefused()).toBe(true);
      return replica.counts.answered > answered ? true : undefined;
    });
    // When its turn comes again it has to prove itself anew.
    idle.proxy.cut();
  }
  console.info(`${asked} questions, ${first.proxy.accepted + second.proxy.accepted} connections`);
  const certificates = await bundle();
  expect(certificates.length).toBeLessThanOrEqual(4);
  // One that has expired this moment goes when a replica next looks.
  await expect
    .poll(async () => (await bundle()).filter(({ validToDate }) => validToDate.getTime() <= Date.now()), {
      timeout: deadline,
    })
    .toEqual([]);
});
