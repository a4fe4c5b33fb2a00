/** A service account of the product, as who holds one of its tokens uses it. */
import { KubeClient } from '../../../src/kube/client.ts';
import { KubeTransport, loadKubeConfig } from '../../../src/kube/transport.ts';
import type { Cluster } from '../../cluster/cluster.ts';

/** What a token is bound to: it dies with it, and says on which node it was meant to be used. */
type Binding = { readonly kind: 'Node' | 'Pod'; readonly name: string; readonly uid: string };

/** A client that asks with a new token of the account in the system's namespace. */
export async function clientOf(
  cluster: Pick<Cluster, 'kubectl' | 'adminKubeconfig'>,
  account: string,
  binding?: Binding,
): Promise<KubeClient & AsyncDisposable> {
  const bound = Object.entries(binding ?? {}).map(([key, value]) => `--bound-object-${key}=${value}`);
  const token = await cluster.kubectl('create', 'token', account, '--namespace=vmferry-system', ...bound);
  const { clientCertificate: _, clientKey: __, ...config } = loadKubeConfig(cluster.adminKubeconfig);
  const transport = new KubeTransport({ ...config, token: { data: Buffer.from(token.trim()) } });
  return Object.assign(new KubeClient(transport), {
    [Symbol.asyncDispose]: () => transport[Symbol.asyncDispose](),
  });
}
