/** A cluster of kind for one run, with a network and a name of its own: nothing of it outlives the run. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import type { ContainerEngine } from './container-engine.ts';
import { MissingPrerequisite } from './prerequisites.ts';

const prefix = 'vmferry-e2e-';
/** The next run does not take such a cluster for one that was abandoned. */
const prefixToStay = 'vmferry-kept-';

export class KindCluster implements AsyncDisposable {
  readonly name: string;
  readonly #engine: ContainerEngine;
  readonly #env: NodeJS.ProcessEnv;

  private constructor(engine: ContainerEngine, name: string) {
    this.name = name;
    this.#engine = engine;
    this.#env = {
      ...process.env,
      KIND_EXPERIMENTAL_PROVIDER: engine.name,
      KIND_EXPERIMENTAL_DOCKER_NETWORK: name,
      KIND_EXPERIMENTAL_PODMAN_NETWORK: name,
    };
  }

  /**
   * KIND_NODE_IMAGE and KIND_CONFIG, where they are set, say what it is made of; else two workers of kind's own image.
   * @param options `kubeconfig` is the file to write; a cluster that `stays` is left alone by later runs
   * @throws MissingPrerequisite without the program `kind` (or what KIND names)
   */
  static async create(
    engine: ContainerEngine,
    options: { kubeconfig: string; defaultConfig: string; stays: boolean; signal: AbortSignal },
  ): Promise<KindCluster> {
    const { kubeconfig, defaultConfig, stays, signal } = options;
    await deleteAbandoned(engine);
    const cluster = new KindCluster(engine, `${stays ? prefixToStay : prefix}${process.pid}`);
    const { KIND_NODE_IMAGE: image, KIND_CONFIG: config = defaultConfig } = process.env;
    try {
      await cluster.#kind(
        ['create', 'cluster', '--kubeconfig', kubeconfig, '--config', config, ...(image ? ['--image', image] : [])],
        signal,
      );
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  async load(archive: string, signal: AbortSignal): Promise<void> {
    await this.#kind(['load', 'image-archive', archive], signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#kind(['delete', 'cluster']);
    await this.#engine.run('network', 'rm', this.name).catch(() => undefined); // never made, or deleted with the cluster
  }

  async #kind(args: string[], signal?: AbortSignal): Promise<void> {
    await kind([...args, '--name', this.name], this.#env, signal);
  }
}

async function kind(args: readonly string[], env: NodeJS.ProcessEnv, signal?: AbortSignal): Promise<string> {
  try {
    const options = { env, maxBuffer: 64 * 1024 * 1024, ...(signal && { signal }) };
    return (await promisify(execFile)(process.env.KIND || 'kind', args, options)).stdout;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      throw new MissingPrerequisite('This needs kind (https://kind.sigs.k8s.io) on the PATH, or KIND to name it.');
    throw error;
  }
}

/** What runs left that could not end in order, as after a power cut: a cluster comes back with its engine. */
async function deleteAbandoned(engine: ContainerEngine): Promise<void> {
  const env = { ...process.env, KIND_EXPERIMENTAL_PROVIDER: engine.name };
  const names = (await kind(['get', 'clusters'], env)).split('\n').filter((name) => name.startsWith(prefix));
  for (const name of names) {
    if (existsSync(`/proc/${name.slice(prefix.length)}`)) continue;
    await kind(['delete', 'cluster', '--name', name], env);
    await engine.run('network', 'rm', name).catch(() => undefined);
  }
}
