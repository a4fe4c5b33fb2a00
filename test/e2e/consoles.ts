/** Follows the serial console of every VM pod of a cluster of localnodes from the moment it exists. */
import { join } from 'node:path';
import { labels } from '../../src/api/labels.ts';
import type { KubeClient } from '../../src/kube/client.ts';
import { type Pod, pods } from '../../src/kube/core-resources.ts';
import { Informer } from '../../src/kube/informer.ts';
import type { Cluster } from '../cluster/cluster.ts';
import type { HeartbeatRecorder, SerialChunk } from '../guest/heartbeat-recorder.ts';

/** Where the agent and QEMU meet on a localnode. */
export function runVolume(cluster: Pick<Cluster, 'nodes'>, pod: Pod): string | undefined {
  const node = cluster.nodes.get(pod.spec.nodeName ?? '');
  if (node === undefined) return undefined;
  return join(node.root, 'pods', pod.metadata.uid ?? '', 'volumes/kubernetes.io~empty-dir/run');
}

/** Each QEMU is a side of its own, under its pod's name. Disposing ends the watch, not the recorder. */
export function followConsoles(
  cluster: Pick<Cluster, 'nodes'>,
  client: KubeClient,
  recorder: HeartbeatRecorder,
  virtualMachineName: string,
): AsyncDisposable {
  const followed = new Set<string>();
  const informer = new Informer<Pod>(client, pods, { labelSelector: `${labels.virtualMachine}=${virtualMachineName}` });
  informer.onChange((_key, pod) => {
    const folder = pod && runVolume(cluster, pod);
    if (folder === undefined || pod?.metadata.name === undefined || followed.has(pod.metadata.name)) return;
    followed.add(pod.metadata.name);
    recorder.follow(pod.metadata.name, join(folder, 'serial'));
  });
  informer.start();
  return informer;
}

/**
 * Throws when a QEMU was heard again after another had begun: of a guest that is started anew, which counts from 1 again, no two
 * may run at once.
 */
export function assertOneAfterAnother(output: readonly SerialChunk[]): void {
  const turns = output.map(({ side }) => side).filter((side, index, sides) => side !== sides[index - 1]);
  if (new Set(turns).size !== turns.length) throw new Error(`two ran at once: heard were ${turns.join(', ')}`);
}
