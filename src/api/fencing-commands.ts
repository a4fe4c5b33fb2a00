/** What an operator types to say that a node, or one QEMU, is certainly off. */
import { annotations, outOfServiceTaint } from './labels.ts';

/** One sentence, with the commands as they are to be typed. The node is left out where it is not known. */
export function fencingCommands(
  pod: { readonly uid: string; readonly nodeName?: string | undefined },
  virtualMachine: { readonly name: string; readonly namespace: string },
): string {
  const { name, namespace } = virtualMachine;
  const annotate = `kubectl annotate vm ${name} -n ${namespace} --overwrite ${annotations.fenced}=${pod.uid}`;
  return pod.nodeName === undefined
    ? `Once it is certain that its QEMU has ended: ${annotate}`
    : `Once it is certain that ${pod.nodeName} is off: kubectl taint node ${pod.nodeName} ${outOfServiceTaint}=nodeshutdown:NoExecute; or, for its QEMU alone: ${annotate}`;
}
