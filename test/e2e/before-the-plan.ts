/** Holds a migration at the moment when the target listens and is published, and the controller has yet to approve the transfer. */
import { type VirtualMachineMigration, virtualMachineMigrations } from '../../src/api/objects.ts';
import type { System } from './system.ts';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface Held {
  /** Where the target's QEMU listens. */
  readonly endpoint: Endpoint;
  /** Has the source send to somewhere else. */
  divert(endpoint: Endpoint): Promise<void>;
  letGo(): Promise<void>;
}

/**
 * Begins a migration to the node where the VM is not, of a cluster with two. The target's agent sleeps until the controller has seen the
 * target pod placed and sleeps in its turn: nothing here depends on who is faster.
 */
export async function holdBeforeThePlan(
  system: System,
  name: string,
  virtualMachineName: string,
  spec: object = {},
): Promise<Held> {
  const { nodeName: from } = (await system.virtualMachine(virtualMachineName)).status?.placement ?? {};
  const nodeName = [...system.cluster.nodes.keys()].find((other) => other !== from);
  const { agent } = system.node(nodeName);
  await agent.kill('SIGSTOP');
  await system.migrate(name, virtualMachineName, { target: { nodeName }, ...spec });
  await system.until('the target pod is placed and the source is checked', async () => {
    const { status } = await system.migration(name);
    return status?.phase === 'Checking' && status.source?.preflight !== undefined ? true : undefined;
  });
  await system.controller.kill('SIGSTOP');
  await agent.kill('SIGCONT');
  const endpoint = await system.until(
    'the target listens',
    async () => (await system.migration(name)).status?.target?.endpoint,
  );
  return {
    endpoint,
    async divert(value) {
      const { namespace } = (await system.migration(name)).metadata;
      const operation = { op: 'replace', path: '/status/target/endpoint', value } as const;
      const options = { subresource: 'status' } as const;
      await system.client.jsonPatch<VirtualMachineMigration>(
        virtualMachineMigrations,
        { namespace, name },
        [operation],
        options,
      );
    },
    letGo: () => system.controller.kill('SIGCONT'),
  };
}
