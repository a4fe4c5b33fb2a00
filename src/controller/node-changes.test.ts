import { expect, test } from 'vitest';
import type { Node } from '../kube/core-resources.ts';
import type { ChangeHandler } from '../kube/informer.ts';
import { isOutOfService, isReady } from './fencing.ts';
import { onNodeChange } from './node-changes.ts';

function node(ready: boolean, changes: Partial<Node['spec'] & object> = {}, heartbeat = 0): Node {
  const lastHeartbeatTime = new Date(heartbeat).toISOString();
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'node-a' },
    spec: changes,
    status: { conditions: [{ type: 'Ready', status: ready ? 'True' : 'Unknown', lastHeartbeatTime }] },
  };
}

const outOfService = { taints: [{ key: 'node.kubernetes.io/out-of-service', effect: 'NoExecute' }] };

test.each<[string, Node | undefined, Node | undefined, boolean]>([
  ['a heartbeat', node(true), node(true, {}, 1), false],
  ['a cordon', node(true), node(true, { unschedulable: true }), false],
  ['readiness', node(true), node(false), true],
  ['the taint', node(false), node(false, outOfService), true],
  ['the taint on a node that is ready, which means nothing', node(true), node(true, outOfService), false],
  ['the end of one that was ready', node(true), undefined, true],
  ['one that is new and not ready', undefined, node(false), false],
])('%s', (_, previous, current, wakes) => {
  const handlers: ChangeHandler<Node>[] = [];
  const woken: string[] = [];
  onNodeChange(
    { onChange: (handler) => void handlers.push(handler) },
    (seen) => `${isReady(seen)} ${isOutOfService(seen)}`,
    (name) => woken.push(name),
  );
  for (const handler of handlers) handler('node-a', current, previous);
  expect(woken).toEqual(wakes ? ['node-a'] : []);
});
