/** What VMs and migrations leave on the machine that a cluster's nodes share. */
import { readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cluster } from '../cluster/cluster.ts';

/** Processes that run in the cluster's folder: a localnode's QEMUs. */
export async function qemusBelow(directory: string): Promise<number> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const places = await Promise.all(
    pids.map(async (pid) => [
      await readlink(`/proc/${pid}/cwd`).catch(() => ''),
      await readlink(`/proc/${pid}/exe`).catch(() => ''),
    ]),
  );
  return places.filter(([cwd = '', exe = '']) => cwd.startsWith(directory) && exe.includes('qemu-system')).length;
}

/** UIDs of the pods of which a node has a folder, or its agent a note. */
export async function podsRemembered({ nodes }: Pick<Cluster, 'nodes'>): Promise<string[]> {
  const folders = [...nodes.values()].flatMap(({ root }) => [join(root, 'pods'), join(root, 'state')]);
  const names = await Promise.all(folders.map((folder) => readdir(folder).catch(() => [])));
  return [...new Set(names.flat())].filter((name) => name !== 'boot-id');
}
