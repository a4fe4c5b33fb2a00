/** What every reconciler works with. Caches are read, never changed but by their informers and by `observe` of what was written. */
import { hostname } from 'node:os';
import { labels } from '../api/labels.ts';
import {
  type VirtualMachine,
  type VirtualMachineMigration,
  virtualMachineMigrations,
  virtualMachines,
} from '../api/objects.ts';
import type { KubeClient } from '../kube/client.ts';
import { type Pod, pods } from '../kube/core-resources.ts';
import { EventRecorder } from '../kube/events.ts';
import { Informer } from '../kube/informer.ts';
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

/** Informers are made, not started; they and the recorder end with `resources`. */
export function createContext(
  client: KubeClient,
  options: ControllerOptions,
  logger: Logger,
  resources: AsyncDisposableStack,
): ControllerContext {
  const source = { reportingController: 'vmferry.io/controller', reportingInstance: hostname() };
  const indexes = {
    virtualMachine: ({ metadata }: Pod) => [`${metadata.namespace}/${metadata.labels?.[labels.virtualMachine]}`],
    migration: ({ metadata }: Pod) => optional(metadata.labels?.[labels.migration]),
  };
  return {
    client,
    virtualMachines: resources.use(new Informer(client, virtualMachines, { logger })),
    migrations: resources.use(
      new Informer(client, virtualMachineMigrations, {
        logger,
        indexes: { virtualMachine: ({ metadata, spec }) => [`${metadata.namespace}/${spec.virtualMachineName}`] },
      }),
    ),
    pods: resources.use(new Informer(client, pods, { logger, labelSelector: labels.virtualMachine, indexes })),
    recorder: resources.use(new EventRecorder(client, source)),
    logger,
    options,
    now: Date.now,
  };
}

function optional(value: string | undefined): string[] {
  return value === undefined ? [] : [value];
}
