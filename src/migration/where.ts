/** The sentences that say where the VM is, and what would settle what cannot be told. */
import { fencingCommands } from '../api/fencing-commands.ts';
import type { VirtualMachineMigration } from '../api/objects.ts';
import type { ControllerFacts, PodFacts } from './controller-facts.ts';
import { isGone } from './controller-facts.ts';

/** One sentence on where the VM runs now; empty when nobody knows of it. */
export function runsWhere({ migration, virtualMachine: vm, sourcePod, targetPod }: ControllerFacts): string {
  const { placement, guest } = vm?.status ?? {};
  if (vm === undefined || placement?.nodeName === undefined) return '';
  const pod = [sourcePod, targetPod].find((candidate) => candidate.exists && candidate.uid === placement.podUID);
  if (pod !== undefined && isGone(pod))
    return `vm/${vm.metadata.name} is down: its QEMU on ${placement.nodeName} has ended.`;
  const reported = guest !== undefined && guest.podUID === placement.podUID ? guest.running : undefined;
  const stands = reported === false || (reported === undefined && migration.status?.source?.resumeTarget === false);
  return `vm/${vm.metadata.name} ${stands ? 'is' : 'runs'} on ${placement.nodeName}.`;
}

/** What is waited for, by name. */
export function yetToBeGone(pods: readonly PodFacts[]): string {
  const names = pods.flatMap((pod) =>
    pod.exists ? [`pod ${pod.name}${pod.nodeName === undefined ? '' : ` on ${pod.nodeName}`}`] : [],
  );
  return names.length === 0 ? '' : `Yet to be seen gone: ${names.join(', ')}.`;
}

/** What an operator can do about a node of which nobody speaks. */
export function whatSettlesIt(
  nodeName: string,
  podUID: string,
  { metadata: { namespace }, spec: { virtualMachineName } }: VirtualMachineMigration,
): string {
  const commands = fencingCommands({ uid: podUID, nodeName }, { name: virtualMachineName, namespace });
  return `Bring ${nodeName} and its agent back. ${commands}`;
}
