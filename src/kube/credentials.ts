import { readFile } from 'node:fs/promises';
import type { RequestOptions } from 'node:https';
import type { KubeConfig, Material } from './kube-config.ts';

/** What a connection and a request are made with. */
export interface Credentials {
  readonly tls: {
    readonly ca?: Buffer;
    readonly cert?: Buffer;
    readonly key?: Buffer;
    readonly servername?: string;
    readonly rejectUnauthorized?: boolean;
  };
  readonly headers: Readonly<Record<string, string>>;
}

/** Tokens and certificates rotate long before the old ones expire; client-go looks for new ones as often. */
const maxAgeMilliseconds = 60_000;

/** Reads a cluster's credentials, and reads them again when they are a minute old. */
export class CredentialSource {
  readonly #config: KubeConfig;
  #current: Promise<Credentials> | undefined;
  #readAt = 0;

  constructor(config: KubeConfig) {
    this.#config = config;
  }

  /** @throws Error of the file system; the next call reads again */
  async read(): Promise<Credentials> {
    const old = this.#current;
    if (old && performance.now() - this.#readAt < maxAgeMilliseconds) return old;
    this.#readAt = performance.now();
    const current = readCredentials(this.#config);
    this.#current = current;
    try {
      return await current;
    } catch (error) {
      this.forget();
      throw error;
    }
  }

  /** The API server did not accept them: read them again for the next call. */
  forget(): void {
    this.#current = undefined;
  }
}

async function readCredentials(config: KubeConfig): Promise<Credentials> {
  const { tlsServerName, insecureSkipTlsVerify, plugin } = config;
  const [ca, cert, key, token] = await Promise.all(
    [config.certificateAuthority, config.clientCertificate, config.clientKey, config.token].map(content),
  );
  const own: Credentials = {
    tls: {
      ...(ca && { ca }),
      ...(cert && { cert }),
      ...(key && { key }),
      ...(tlsServerName && { servername: tlsServerName }),
      ...(insecureSkipTlsVerify && { rejectUnauthorized: false }),
    },
    headers: token ? { authorization: `Bearer ${token.toString('utf8').trim()}` } : {},
  };
  return plugin === undefined ? own : merge(own, await askPlugin(config.server, plugin));
}

/**
 * Plugins are the client library's business. It is loaded only for a kubeconfig that names one: a daemon in a cluster has a token
 * file, and would pay some 30 MiB of memory for code that it never runs.
 */
async function askPlugin(server: string, plugin: NonNullable<KubeConfig['plugin']>): Promise<RequestOptions> {
  const { KubeConfig: Library } = await import('@kubernetes/client-node');
  const library = new Library();
  library.loadFromOptions({
    clusters: [{ name: 'cluster', server, skipTLSVerify: false }],
    users: [{ name: 'user', exec: plugin.exec, authProvider: plugin['auth-provider'] }],
    contexts: [{ name: 'context', cluster: 'cluster', user: 'user' }],
    currentContext: 'context',
  });
  const options: RequestOptions = { headers: {} };
  await library.applyToHTTPSOptions(options);
  return options;
}

function merge(own: Credentials, given: RequestOptions): Credentials {
  const authorization = (given.headers as Record<string, string> | undefined)?.Authorization;
  return {
    tls: { ...own.tls, ...(given.cert && given.key ? { cert: asBuffer(given.cert), key: asBuffer(given.key) } : {}) },
    headers: authorization === undefined ? own.headers : { authorization },
  };
}

/** The library gives PEM as text or bytes. */
function asBuffer(pem: unknown): Buffer {
  return Buffer.isBuffer(pem) ? pem : Buffer.from(String(pem));
}

async function content(material: Material | undefined): Promise<Buffer | undefined> {
  if (!material) return undefined;
  return 'data' in material ? material.data : readFile(material.file);
}
