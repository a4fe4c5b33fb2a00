/** The VM pods of a cluster as their nodes' folders show them, whatever the API server is doing. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Cluster } from '../cluster/cluster.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';

export interface PodFolder {
  readonly node: string;
  readonly uid: string;
  readonly path: string;
  /** The name of its QEMU in recordings. */
  readonly side: string;
}

/** A target's monitor and console appear some 50 ms before its guest may run. */
const lookMilliseconds = 5;

export function podFolders({ nodes }: Pick<Cluster, 'nodes'>): PodFolder[] {
  return [...nodes.values()].flatMap(({ name: node, root }) =>
    uidsIn(join(root, 'pods')).map((uid) => ({
      node,
      uid,
      path: join(root, 'pods', uid),
      side: sideOf(node, uid),
    })),
  );
}

export const sideOf = (node: string, uid: string) => `${node}/${uid.slice(0, 8)}`;

/** The pod's process, or undefined when it was not started yet or has left no record. It may have ended. */
export function pidIn({ path }: PodFolder): number | undefined {
  try {
    return (JSON.parse(readFileSync(join(path, 'process.json'), 'utf8')) as { pid?: number }).pid;
  } catch {
    return undefined;
  }
}

const runVolumeIn = ({ path }: PodFolder) => join(path, 'volumes/kubernetes.io~empty-dir/run');

function uidsIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // a node without pods so far
  }
}

/** Follows the console of every pod that appears on any node, from before its guest runs. */
export class PodFollower implements Disposable {
  readonly #timer: NodeJS.Timeout;
  readonly #seen = new Set<string>();
  readonly #handlers = new Set<(pod: PodFolder) => void>();

  constructor(cluster: Pick<Cluster, 'nodes'>, recorder: HeartbeatRecorder) {
    this.#timer = setInterval(() => {
      for (const pod of podFolders(cluster)) {
        if (this.#seen.has(pod.uid)) continue;
        this.#seen.add(pod.uid);
        recorder.follow(pod.side, join(runVolumeIn(pod), 'serial'));
        for (const handler of this.#handlers) handler(pod);
      }
    }, lookMilliseconds);
  }

  /** Returns what takes the handler away again. */
  onAppearance(handler: (pod: PodFolder) => void): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
