/** What both sides of the agent work with. Caches are read, never changed but by their informers and by `observe` of what was written. */
import type { VirtualMachine, VirtualMachineMigration } from '../api/objects.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Pod } from '../kube/core-resources.ts';
import type { Informer } from '../kube/informer.ts';
import type { KubeTransport } from '../kube/transport.ts';
import type { Logger } from '../observability/logger.ts';
import type { QueueObserver } from '../observability/queue-metrics.ts';
import type { AttemptCredentials } from './credentials/attempt-credentials.ts';
import type { HandoverServer } from './handover/server.ts';
import type { PodQueue } from './pod-queue.ts';
import type { QemuRegistry } from './qemu/registry.ts';
import type { StateDirectory } from './state-directory.ts';

export interface AgentContext {
  readonly nodeName: string;
  readonly client: KubeClient;
  readonly transport: KubeTransport;
  /** VMs placed on this node. */
  readonly virtualMachines: Informer<VirtualMachine>;
  /** VM pods bound to this node. */
  readonly pods: Informer<Pod>;
  /** Migrations whose source is this node. */
  readonly outgoing: Informer<VirtualMachineMigration>;
  /** Migrations whose target is this node. */
  readonly incoming: Informer<VirtualMachineMigration>;
  readonly qemus: QemuRegistry;
  readonly state: StateDirectory;
  /** The keys of the attempts that this node takes part in. */
  readonly credentials: AttemptCredentials;
  /** Where other agents hand guests over to this one. */
  readonly handoverServer: HandoverServer;
  /** The address under which they reach it; absent: the node's, as its pods have it. */
  readonly handoverAddress: string | undefined;
  /** Whoever changes a QEMU holds its pod's place here. */
  readonly podQueue: PodQueue;
  readonly logger: Logger;
  /** For the controller of this name. */
  readonly observerOf: (controller: string) => QueueObserver;
}
