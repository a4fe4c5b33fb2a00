import { readFile } from 'node:fs/promises';
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
  const { tlsServerName, insecureSkipTlsVerify } = config;
  const [ca, cert, key, token] = await Promise.all(
    [config.certificateAuthority, config.clientCertificate, config.clientKey, config.token].map(content),
  );
  return {
    tls: {
      ...(ca && { ca }),
      ...(cert && { cert }),
      ...(key && { key }),
      ...(tlsServerName && { servername: tlsServerName }),
      ...(insecureSkipTlsVerify && { rejectUnauthorized: false }),
    },
    headers: token ? { authorization: `Bearer ${token.toString('utf8').trim()}` } : {},
  };
}

async function content(material: Material | undefined): Promise<Buffer | undefined> {
  if (!material) return undefined;
  return 'data' in material ? material.data : readFile(material.file);
}
