/** The VM reconciler: facts, one pure decision, the status saved by compare-and-swap, then the effects. */
import { isDeepStrictEqual } from 'node:util';
import { labels } from '../../api/labels.ts';
import { type VirtualMachine, virtualMachines } from '../../api/objects.ts';
import { Controller, type ReconcileResult } from '../../kube/controller.ts';
import type { Pod } from '../../kube/core-resources.ts';
import { isConflict } from '../../kube/errors.ts';
import { parseObjectKey } from '../../kube/resource.ts';
import type { ControllerContext } from '../context.ts';
import { fencingState } from '../fencing.ts';
import { onNodeChange } from '../node-changes.ts';
import { isGone } from '../pod-evidence.ts';
import { virtualMachineStep } from './decide.ts';
import { execute, releasePod } from './executors.ts';
import { gatherFacts, podFacts } from './gather.ts';
import { release } from './pod-upkeep.ts';

/** More steps in a row than a VM has without waiting for somebody else. */
const maxStepsInARow = 12;

/** Reconciles VMs whenever they, one of their pods or the migration that locks them changes. */
export function createVirtualMachineController(context: ControllerContext): Controller {
  const controller = new Controller({
    name: 'virtual-machine',
    concurrency: 8,
    logger: context.logger,
    maxBackoffMilliseconds: 30_000,
    reconcile: (key) => reconcile(context, key),
    observer: context.observerOf('virtual-machine'),
  });
  context.virtualMachines.onChange((key) => controller.enqueue(key));
  const enqueueOf = (pod: Pod | undefined) => {
    const { namespace, labels: carried } = pod?.metadata ?? {};
    const vm = carried?.[labels.virtualMachine];
    if (vm !== undefined) controller.enqueue(`${namespace}/${vm}`);
  };
  context.pods.onChange((_key, current, previous) => enqueueOf(current ?? previous));
  onNodeChange(context.nodes, fencingState, (nodeName) => {
    for (const pod of context.pods.cache.byIndex('node', nodeName)) enqueueOf(pod);
    for (const { metadata } of context.virtualMachines.cache.byIndex('node', nodeName)) {
      controller.enqueue(`${metadata.namespace}/${metadata.name}`);
    }
  });
  // Only the end of a migration object says something here: the lock it may have left.
  context.migrations.onChange((_key, current, previous) => {
    if (current === undefined && previous !== undefined) {
      controller.enqueue(`${previous.metadata.namespace}/${previous.spec.virtualMachineName}`);
    }
  });
  return controller;
}

async function reconcile(context: ControllerContext, key: string): Promise<ReconcileResult> {
  for (let step = 0; step < maxStepsInARow; step++) {
    const vm = context.virtualMachines.cache.get(key);
    if (vm === undefined) return releaseOrphans(context, key);
    const decision = virtualMachineStep(await gatherFacts(context, vm));
    let current = vm;
    if (!isDeepStrictEqual(decision.status, vm.status ?? {})) {
      const saved = await save(context, { ...vm, status: decision.status });
      // Somebody else wrote first: the newer object is on its way, and its arrival the next occasion.
      if (saved === undefined) return { requeueAfterMilliseconds: 1_000 };
      logChange(context, vm, saved);
      current = saved;
    }
    // What was saved or done comes back as a change of the caches; only what they show already is gone on with at once.
    if (!(await execute(context, current, decision.effects))) {
      return decision.lookAgainAfter === undefined ? {} : { requeueAfterMilliseconds: decision.lookAgainAfter };
    }
  }
  return { requeueAfterMilliseconds: 10 };
}

/** Pods whose VM object was removed by force: the garbage collector deletes them, their nodes end them, and the finalizer goes here. */
async function releaseOrphans(context: ControllerContext, key: string): Promise<ReconcileResult> {
  const { namespace = '' } = parseObjectKey(key);
  const orphans = context.pods.cache.byIndex('virtualMachine', key).map((pod) => podFacts(context, pod, undefined));
  for (const pod of orphans) {
    if (pod.held && pod.deleting && isGone(pod)) await releasePod(context, { metadata: { namespace } }, release(pod));
  }
  return {};
}

async function save(context: ControllerContext, vm: VirtualMachine): Promise<VirtualMachine | undefined> {
  try {
    const saved = await context.client.replace<VirtualMachine>(virtualMachines, vm, { subresource: 'status' });
    context.virtualMachines.observe(saved);
    return saved;
  } catch (error) {
    if (isConflict(error)) return undefined;
    throw error;
  }
}

function logChange(context: ControllerContext, before: VirtualMachine, after: VirtualMachine): void {
  const { name, namespace } = after.metadata;
  const { phase, message, placement } = after.status ?? {};
  if (before.status?.phase === phase) return;
  context.logger.info(
    { VirtualMachine: { name, namespace }, phase, node: placement?.nodeName, pod: placement?.podName, detail: message },
    'VM changed phase',
  );
}
