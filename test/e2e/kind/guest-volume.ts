/** A volume that every node can read at once, as a shared file system would give it: the same files laid down on each of them. */
import { readFile } from 'node:fs/promises';
import { guestFolder } from './consoles.ts';
import { onEveryNode } from './on-node.ts';
import { applyObjects, kubectl } from './site.ts';
import type { KindSystem } from './system.ts';

/** Through the pods of the recorders, which have the folder. */
export async function putOnEveryNode(file: string, name: string): Promise<void> {
  const content = await readFile(file);
  await onEveryNode(`process.stdin.pipe(fs.createWriteStream('/guests/${name}'))`, content);
}

/** The claim `guests` in the system's namespace. Disposing removes it, the volume and the files. */
export async function volumeOfGuests(system: KindSystem): Promise<AsyncDisposable> {
  const volume = `guests-${system.namespace}`;
  const common = { accessModes: ['ReadOnlyMany'], storageClassName: '' };
  const capacity = { storage: '1Gi' };
  await applyObjects([
    {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: volume },
      spec: { ...common, capacity, hostPath: { path: guestFolder, type: 'Directory' } },
    },
  ]);
  await system.apply({
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: 'guests' },
    spec: { ...common, volumeName: volume, resources: { requests: capacity } },
  });
  return {
    [Symbol.asyncDispose]: async () => {
      await system.kubectl('delete', 'pvc', 'guests', '--wait=false');
      await kubectl(['delete', 'pv', volume, '--wait=false']);
      await onEveryNode(`for (const name of fs.readdirSync('/guests')) fs.rmSync('/guests/' + name)`);
    },
  };
}
