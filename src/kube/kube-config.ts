import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';

/** A file that may change while the process runs, or its fixed content. */
export type Material = { readonly file: string } | { readonly data: Buffer };

/** Where the API server is and how to prove who asks. */
export interface KubeConfig {
  /** Scheme, host and port, with a path when the server lives below one. */
  readonly server: string;
  /** The namespace of the context, or of the pod this runs in; `default` when neither says. */
  readonly namespace: string;
  readonly certificateAuthority?: Material;
  readonly clientCertificate?: Material;
  readonly clientKey?: Material;
  readonly token?: Material;
  /** A program or an identity provider that gives out credentials, as the kubeconfig describes it. */
  readonly plugin?: Pick<UserEntry, 'exec' | 'auth-provider'>;
  readonly tlsServerName?: string;
  readonly insecureSkipTlsVerify?: boolean;
}

interface KubeConfigFile {
  'current-context'?: string;
  contexts?: { name: string; context: { cluster: string; user: string; namespace?: string } }[];
  clusters?: { name: string; cluster: ClusterEntry }[];
  users?: { name: string; user: UserEntry }[];
}

interface ClusterEntry {
  server: string;
  'certificate-authority'?: string;
  'certificate-authority-data'?: string;
  'tls-server-name'?: string;
  'insecure-skip-tls-verify'?: boolean;
  'proxy-url'?: string;
}

interface UserEntry {
  'client-certificate'?: string;
  'client-certificate-data'?: string;
  'client-key'?: string;
  'client-key-data'?: string;
  token?: string;
  tokenFile?: string;
  exec?: object;
  'auth-provider'?: object;
}

const serviceAccountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * Finds the cluster: the kubeconfig at `file`, else those named by KUBECONFIG, else the service account of the pod this runs in.
 * `~/.kube/config` is never taken by itself: a daemon that is started by accident must not act on somebody's cluster.
 *
 * @throws Error in one sentence when there is none, or it asks for a proxy, which is not supported
 */
export function loadKubeConfig(file?: string): KubeConfig {
  const files = file ? [file] : (process.env.KUBECONFIG ?? '').split(path.delimiter).filter(Boolean);
  if (files.length > 0) return fromFiles(files);
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = process.env;
  if (host && port) return fromServiceAccount(host, port);
  throw new Error('no cluster: give --kubeconfig, set KUBECONFIG, or run in a pod with a service account');
}

export function fromServiceAccount(host: string, port: string, folder = serviceAccountFolder): KubeConfig {
  const namespaceFile = path.join(folder, 'namespace');
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    namespace: existsSync(namespaceFile) ? readFileSync(namespaceFile, 'utf8').trim() : 'default',
    certificateAuthority: { file: path.join(folder, 'ca.crt') },
    token: { file: path.join(folder, 'token') },
  };
}

/** Of several files the first that names a thing wins, as with kubectl. */
function fromFiles(files: readonly string[]): KubeConfig {
  const parsed = files
    .filter((file) => files.length === 1 || existsSync(file))
    .map((file) => ({ folder: path.dirname(path.resolve(file)), content: readKubeConfigFile(file) }));
  const source = files.join(', ');
  const current = parsed.map(({ content }) => content['current-context']).find(Boolean);
  if (!current) throw new Error(`${source}: no current-context`);
  const find = <K extends 'contexts' | 'clusters' | 'users'>(list: K, name: string) => {
    for (const { folder, content } of parsed) {
      const entry = content[list]?.find((candidate) => candidate.name === name);
      if (entry) return { folder, entry: entry as NonNullable<KubeConfigFile[K]>[number] };
    }
    throw new Error(`${source}: "${name}" is not among the ${list}`);
  };
  const { context } = find('contexts', current).entry;
  const { folder, entry } = find('clusters', context.cluster);
  const user = find('users', context.user);
  return {
    ...clusterSide(entry.cluster, folder),
    ...userSide(user.entry.user, user.folder),
    namespace: context.namespace ?? 'default',
  };
}

function clusterSide(cluster: ClusterEntry, folder: string): Omit<KubeConfig, 'namespace'> {
  if (cluster['proxy-url']) throw new Error(`cluster ${cluster.server}: proxy-url is not supported`);
  const authority = material(cluster['certificate-authority-data'], cluster['certificate-authority'], folder);
  return {
    server: cluster.server.replace(/\/+$/, ''),
    ...(authority && { certificateAuthority: authority }),
    ...(cluster['tls-server-name'] && { tlsServerName: cluster['tls-server-name'] }),
    ...(cluster['insecure-skip-tls-verify'] && { insecureSkipTlsVerify: true }),
  };
}

function userSide(user: UserEntry, folder: string): Partial<KubeConfig> {
  const certificate = material(user['client-certificate-data'], user['client-certificate'], folder);
  const key = material(user['client-key-data'], user['client-key'], folder);
  // A token file wins over a token: it is the one that is kept fresh.
  const token = user.tokenFile
    ? { file: path.resolve(folder, user.tokenFile) }
    : user.token && { data: Buffer.from(user.token) };
  return {
    ...(certificate && { clientCertificate: certificate }),
    ...(key && { clientKey: key }),
    ...(token && { token }),
    ...((user.exec || user['auth-provider']) && { plugin: user }),
  };
}

function material(data: string | undefined, file: string | undefined, folder: string): Material | undefined {
  if (data) return { data: Buffer.from(data, 'base64') };
  return file ? { file: path.resolve(folder, file) } : undefined;
}

function readKubeConfigFile(file: string): KubeConfigFile {
  const content: unknown = parse(readFileSync(file, 'utf8'));
  if (typeof content !== 'object' || content === null) throw new Error(`${file}: not a kubeconfig`);
  return content;
}
