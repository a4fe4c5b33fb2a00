import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Cluster } from '../cluster/cluster.ts';

let files = 0;

/** Writes the objects into one manifest file of the cluster's folder, for `kubectl apply -f`. */
export async function manifestFile(cluster: Pick<Cluster, 'directory'>, ...objects: object[]): Promise<string> {
  const path = join(cluster.directory, `manifest-${files++}.yaml`);
  await writeFile(path, objects.map((object) => stringify(object)).join('---\n'));
  return path;
}

/** `kubectl apply` of the objects; throws with what kubectl complains about. */
export async function apply(cluster: Pick<Cluster, 'directory' | 'kubectl'>, ...objects: object[]): Promise<string> {
  return await cluster.kubectl('apply', '-f', await manifestFile(cluster, ...objects));
}
