/** What every reconciler works with. Caches are read, never changed but by their informers and by `observe` of what was written. */
import { hostname } from 'node:os';
import type { Registry } from 'prom-client';
import { labels } from '../api/labels.ts';
import {
  type VirtualMachine,
  type VirtualMachineMigration,
  virtualMachineMigrations,
  virtualMachines,
} from '../api/objects.ts';
import { isTerminal } from '../api/phases.ts';
import { type ProtocolRange, protocol } from '../api/protocol.ts';
import type { KubeClient } from '../kube/client.ts';
import {
  type Node,
  nodes,
  type Pod,
  type PodDisruptionBudget,
  podDisruptionBudgets,
  pods,
} from '../kube/core-resources.ts';
import { EventRecorder } from '../kube/events.ts';
import { Informer } from '../kube/informer.ts';
import type { MigrationLimits } from '../migration/capacity.ts';
import type { Logger } from '../observability/logger.ts';
import { createQueueMetrics, type QueueObserver } from '../observability/queue-metrics.ts';
import { type AgentPresences, createAgentPresences } from './agent-presence.ts';
import { createMigrationMetrics, type MigrationMetrics } from './migration/metrics.ts';

export interface ControllerContext {
  readonly client: KubeClient;
  /** Index `node`: name of the node that they are placed on. */
  readonly virtualMachines: Informer<VirtualMachine>;
  /** Index `virtualMachine`: `namespace/name` of the VM that it moves; index `ended`: `false` or `true`. */
  readonly migrations: Informer<VirtualMachineMigration>;
  /**
   * All VM pods. Index `virtualMachine`: `namespace/name` of their VM; index `migration`: UID of the migration that created them;
   * index `node`: name of the node that they are bound to.
   */
  readonly pods: Informer<Pod>;
  /** Nodes change every few minutes without saying anything new: `onNodeChange` tells what matters. */
  readonly nodes: Informer<Node>;
  readonly agents: AgentPresences;
  /** Those that carry a VM's name. */
  readonly budgets: Informer<PodDisruptionBudget>;
  readonly recorder: EventRecorder;
  readonly protocol: ProtocolRange;
  readonly metrics: MigrationMetrics;
  /** For the controller of this name. */
  readonly observerOf: (controller: string) => QueueObserver;
  readonly logger: Logger;
  readonly options: ControllerOptions;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** When this process began to look; milliseconds since the epoch. */
  readonly startedAt: number;
}

export interface ControllerOptions {
  /** How QEMUs are to execute their guests; the same on every node. */
  readonly accelerator: 'kvm' | 'tcg';
  /** The container image of VM pods. */
  readonly qemuImage: string;
  /** What VM pods ask for to get `/dev/kvm`; absent: they get it some other way. */
  readonly kvmResource?: string | undefined;
  /** Where the agents keep their leases. */
  readonly namespace: string;
  readonly migrationLimits: MigrationLimits;
}

/** Informers are made, not started; they and the recorder end with `resources`. What there is to count is counted in `registry`. */
export function createContext(
  client: KubeClient,
  options: ControllerOptions,
  logger: Logger,
  resources: AsyncDisposableStack,
  registry: Registry,
): ControllerContext {
  const source = { reportingController: 'vmferry.io/controller', reportingInstance: hostname() };
  const indexes = {
    virtualMachine: ({ metadata }: Pod) => [`${metadata.namespace}/${metadata.labels?.[labels.virtualMachine]}`],
    migration: ({ metadata }: Pod) => optional(metadata.labels?.[labels.migration]),
    node: ({ spec }: Pod) => optional(spec.nodeName),
  };
  const { namespace } = options;
  return {
    client,
    virtualMachines: resources.use(
      new Informer(client, virtualMachines, {
        logger,
        indexes: { node: ({ status }) => optional(status?.placement?.nodeName) },
      }),
    ),
    migrations: resources.use(
      new Informer(client, virtualMachineMigrations, {
        logger,
        indexes: {
          virtualMachine: ({ metadata, spec }) => [`${metadata.namespace}/${spec.virtualMachineName}`],
          ended: ({ status }) => [String(isTerminal(status?.phase))],
        },
      }),
    ),
    pods: resources.use(new Informer(client, pods, { logger, labelSelector: labels.virtualMachine, indexes })),
    nodes: resources.use(new Informer(client, nodes, { logger })),
    agents: resources.use(createAgentPresences(client, { namespace, now: Date.now, logger })),
    budgets: resources.use(
      new Informer(client, podDisruptionBudgets, { logger, labelSelector: labels.virtualMachine }),
    ),
    recorder: resources.use(new EventRecorder(client, source)),
    protocol,
    metrics: createMigrationMetrics(registry),
    observerOf: createQueueMetrics(registry),
    logger,
    options,
    now: Date.now,
    startedAt: Date.now(),
  };
}

/** Whatever is decided on must be complete before anything is decided. */
export function informersOf({
  virtualMachines,
  migrations,
  pods,
  nodes,
  agents,
  budgets,
}: ControllerContext): Pick<Informer<never>, 'start' | 'synced'>[] {
  return [virtualMachines, migrations, pods, nodes, agents.leases, budgets];
}

function optional(value: string | undefined): string[] {
  return value === undefined ? [] : [value];
}
