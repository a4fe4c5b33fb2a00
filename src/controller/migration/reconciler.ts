/** The migration reconciler: facts from the caches, one pure decision, the status saved, then the effects. */
import { isDeepStrictEqual } from 'node:util';
import { nodeOfAgentLease } from '../../api/agent-lease.ts';
import { labels } from '../../api/labels.ts';
import { type VirtualMachineMigration, virtualMachineMigrations } from '../../api/objects.ts';
import { isTerminal } from '../../api/phases.ts';
import { Controller, type ReconcileResult } from '../../kube/controller.ts';
import type { Pod } from '../../kube/core-resources.ts';
import { ApiError, isConflict } from '../../kube/errors.ts';
import { controllerStep } from '../../migration/controller-step.ts';
import type { ControllerContext } from '../context.ts';
import { fencingState } from '../fencing.ts';
import { onNodeChange } from '../node-changes.ts';
import { eventsFor } from './events.ts';
import { execute } from './executors.ts';
import { gatherFacts } from './facts.ts';

/** More steps in a row than any migration has without waiting for somebody else. */
const maxStepsInARow = 12;

/** Reconciles migrations whenever they, their VM or a pod of their VM change. */
export function createMigrationController(context: ControllerContext): Controller {
  const logger = context.logger.child({ controller: 'migration' });
  const controller = new Controller({
    name: 'migration',
    concurrency: 8,
    logger,
    maxBackoffMilliseconds: 3_000,
    reconcile: (key) => reconcile(context, key),
    observer: context.observerOf('migration'),
  });
  const enqueueAll = (migrations: readonly VirtualMachineMigration[]) => {
    for (const { metadata } of migrations) controller.enqueue(`${metadata.namespace}/${metadata.name}`);
  };
  context.migrations.onChange((key, current, previous) => {
    controller.enqueue(key);
    // Whoever waits for capacity may go on, or has come nearer.
    if (takesOfCapacity(current) !== takesOfCapacity(previous)) enqueueAll(waitingForCapacity(context));
  });
  // The next in the queue for a VM begins when the one before lets go of it: that, too, is a change of the VM.
  context.virtualMachines.onChange((key) => enqueueAll(context.migrations.cache.byIndex('virtualMachine', key)));
  context.pods.onChange((_key, current, previous) => {
    const pod = current ?? previous;
    const vm = pod?.metadata.labels?.[labels.virtualMachine];
    if (vm !== undefined)
      enqueueAll(context.migrations.cache.byIndex('virtualMachine', `${pod?.metadata.namespace}/${vm}`));
  });
  // What proves the end of a QEMU may be said of its node.
  onNodeChange(context.nodes, fencingState, (nodeName) => {
    for (const { metadata } of context.pods.cache.byIndex('node', nodeName))
      enqueueAll(context.migrations.cache.byIndex('virtualMachine', virtualMachineKey(metadata)));
  });
  // An agent that comes back is waited for no more, and may end a NeedsAttention.
  context.agents.leases.onChange((_key, current) => {
    const nodeName = nodeOfAgentLease(current?.metadata.name ?? '');
    enqueueAll(context.migrations.cache.list().filter((migration) => waitsForAgent(migration, nodeName)));
  });
  return controller;
}

/** Whatever changes when a migration takes a place, comes nearer to one, or leaves it. */
function takesOfCapacity({ status }: Partial<VirtualMachineMigration> = {}): string {
  const { phase, reason, sourceNode, targetNode, plan } = status ?? {};
  return [phase, reason, sourceNode, targetNode, plan !== undefined].join(' ');
}

function waitingForCapacity({ migrations }: ControllerContext): VirtualMachineMigration[] {
  const unfinished = migrations.cache.byIndex('ended', 'false');
  return unfinished.filter(({ status }) => status?.reason === 'WaitingForCapacity');
}

function virtualMachineKey({ namespace, labels: carried }: Pod['metadata']): string {
  return `${namespace}/${carried?.[labels.virtualMachine]}`;
}

function waitsForAgent({ status }: VirtualMachineMigration, nodeName: string | undefined): boolean {
  return (
    nodeName !== undefined &&
    status?.phase !== undefined &&
    !isTerminal(status.phase) &&
    (status.sourceNode === nodeName || status.targetNode === nodeName)
  );
}

async function reconcile(context: ControllerContext, key: string): Promise<ReconcileResult> {
  for (let step = 0; step < maxStepsInARow; step++) {
    const migration = context.migrations.cache.get(key);
    if (migration === undefined) return {};
    const decision = controllerStep(gatherFacts(context, migration));
    let current = migration;
    const changed = !isDeepStrictEqual(decision.status ?? {}, migration.status ?? {});
    if (changed) {
      const saved = await save(context, { ...migration, status: decision.status ?? {} });
      if (saved === undefined) return { requeueAfterMilliseconds: 5 };
      tell(context, migration, saved);
      current = saved;
    }
    let progressed: boolean;
    try {
      progressed = await execute(context, current, decision.effects);
    } catch (error) {
      if (isRefusal(error)) await sayRefused(context, current, error);
      throw error;
    }
    if (!changed && !progressed) {
      return decision.lookAgainAfter === undefined ? {} : { requeueAfterMilliseconds: decision.lookAgainAfter };
    }
  }
  return { requeueAfterMilliseconds: 10 };
}

/** A quota, a policy, a missing right: somebody must know, and the log is not where they look. */
async function sayRefused(
  context: ControllerContext,
  migration: VirtualMachineMigration,
  error: ApiError,
): Promise<void> {
  const message = `The API server refuses what comes next: ${error.message}`.slice(0, 4000);
  if (migration.status === undefined || migration.status.message === message) return;
  await save(context, { ...migration, status: { ...migration.status, message } });
}

function isRefusal(error: unknown): error is ApiError {
  return (
    error instanceof ApiError && error.status >= 400 && error.status < 500 && !isConflict(error) && error.status !== 429
  );
}

/** Saves by compare-and-swap. @returns undefined when somebody else wrote first: the facts have changed. */
async function save(
  context: ControllerContext,
  migration: VirtualMachineMigration,
): Promise<VirtualMachineMigration | undefined> {
  try {
    const saved = await context.client.replace<VirtualMachineMigration>(virtualMachineMigrations, migration, {
      subresource: 'status',
    });
    context.migrations.observe(saved);
    return saved;
  } catch (error) {
    if (isConflict(error)) return undefined;
    throw error;
  }
}

function tell(context: ControllerContext, before: VirtualMachineMigration, after: VirtualMachineMigration): void {
  const { name, namespace } = after.metadata;
  const { phase, reason, message } = after.status ?? {};
  if (before.status?.phase !== phase) {
    context.logger.info(
      { VirtualMachineMigration: { name, namespace }, phase, reason, detail: message },
      'Migration changed phase',
    );
  }
  context.metrics.observe(before.status, after.status ?? {});
  const vm = context.virtualMachines.cache.get(`${namespace}/${after.spec.virtualMachineName}`);
  for (const event of eventsFor(before.status, after)) {
    context.recorder.event(after, event.type, event.reason, event.note);
    if (event.onVirtualMachine && vm !== undefined) context.recorder.event(vm, event.type, event.reason, event.note);
  }
}
