/** What every reconciler works with. Caches are read, never changed but by their informers and by `observe` of what was written. */
import type { VirtualMachine, VirtualMachineMigration } from '../api/objects.ts';
import type { KubeClient } from '../kube/client.ts';
import type { Pod } from '../kube/core-resources.ts';
import type { EventRecorder } from '../kube/events.ts';
import type { Informer } from '../kube/informer.ts';
import type { Logger } from '../observability/logger.ts';

export interface ControllerContext {
  readonly client: KubeClient;
  readonly virtualMachines: Informer<VirtualMachine>;
  /** Index `virtualMachine`: `namespace/name` of the VM that it moves. */
  readonly migrations: Informer<VirtualMachineMigration>;
  /** All VM pods. Index `virtualMachine`: `namespace/name` of their VM; index `migration`: UID of the migration that created them. */
  readonly pods: Informer<Pod>;
  readonly recorder: EventRecorder;
  readonly logger: Logger;
  readonly options: ControllerOptions;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

export interface ControllerOptions {
  /** How QEMUs are to execute their guests; the same on every node. */
  readonly accelerator: 'kvm' | 'tcg';
  /** The container image of VM pods. */
  readonly qemuImage: string;
}
