import type { Node } from '../kube/core-resources.ts';
import type { Informer } from '../kube/informer.ts';

/**
 * Calls the handler with the name of a node of which `what` has changed, and of no other: in a big cluster some node object is written
 * every few seconds, and hardly ever anything that a VM depends on. To be called before the informer is started.
 *
 * @param what compared by identity; of a node that is not there it is that of undefined
 */
export function onNodeChange(
  nodes: Pick<Informer<Node>, 'onChange'>,
  what: (node: Node | undefined) => string | boolean,
  handler: (nodeName: string) => void,
): void {
  nodes.onChange((nodeName, current, previous) => {
    if (what(current) !== what(previous)) handler(nodeName);
  });
}
