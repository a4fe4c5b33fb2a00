/** From a pod to a host process: without a container's own file system, paths below a volume's mount become paths of the host. */
import path from 'node:path';
import type { Container, Pod, Volume } from '../kube/core-resources.ts';
import { expandVariables } from './expansion.ts';

export interface LaunchPlan {
  /** The pod's own volumes, which do not exist yet. */
  readonly folders: readonly string[];
  readonly workingDirectory: string;
  /** Program first. */
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

interface Mount {
  readonly mountPath: string;
  readonly hostPath: string;
}

/** What a variable may take from its pod. */
export const podAddressField = 'status.podIP';

/**
 * @param pod of which `unsupportedFields` says nothing.
 * @param at the pod's folder on the host, absolute, and its address
 */
export function planLaunch(pod: Pod, { podFolder, address }: { podFolder: string; address: string }): LaunchPlan {
  const [container] = pod.spec.containers;
  if (container === undefined) throw new Error(`pod ${pod.metadata.name} has no container`);
  const mounts = mountsOf(container, pod.spec.volumes ?? [], podFolder);
  const variables = new Map<string, string>();
  for (const { name, value = '', valueFrom } of container.env ?? []) {
    variables.set(name, valueFrom ? address : toHostPath(expandVariables(value, variables), mounts));
  }
  const argv = [...(container.command ?? []), ...(container.args ?? [])];
  return {
    folders: (pod.spec.volumes ?? []).filter(isEmptyDir).map((volume) => emptyDirFolder(podFolder, volume.name)),
    workingDirectory: toHostPath(container.workingDir ?? '', mounts),
    argv: argv.map((argument) => expandVariables(argument, variables)),
    environment: Object.fromEntries(variables),
  };
}

/** The path on the host of a path in the container; one that lies in no volume stays as it is. */
export function toHostPath(containerPath: string, mounts: readonly Mount[]): string {
  const [mount] = mounts
    .filter(({ mountPath }) => isWithin(containerPath, mountPath))
    .sort((a, b) => b.mountPath.length - a.mountPath.length);
  return mount === undefined ? containerPath : mount.hostPath + containerPath.slice(mount.mountPath.length);
}

export function isWithin(inner: string, folder: string): boolean {
  return inner === folder || inner.startsWith(`${folder}/`);
}

function mountsOf(container: Container, volumes: readonly Volume[], podFolder: string): Mount[] {
  const hostPaths = new Map(
    volumes.map((volume) => [volume.name, volume.hostPath?.path ?? emptyDirFolder(podFolder, volume.name)]),
  );
  return (container.volumeMounts ?? []).map(({ name, mountPath }) => ({
    mountPath,
    hostPath: hostPaths.get(name) ?? mountPath,
  }));
}

function isEmptyDir(volume: Volume): boolean {
  return volume.emptyDir !== undefined;
}

/** The kubelet's own layout: agents find sockets there. */
function emptyDirFolder(podFolder: string, volumeName: string): string {
  return path.join(podFolder, 'volumes', 'kubernetes.io~empty-dir', volumeName);
}
