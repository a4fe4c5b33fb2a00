/**
 * A disruption budget for every VM that is to move when it is evicted: the floor where the webhook does not answer. Of a VM's pods
 * one is ready, and both at a switchover for a moment; two that have to stay available are never satisfied by that.
 */
import { group, labels } from '../../api/labels.ts';
import type { VirtualMachine } from '../../api/objects.ts';
import { Controller, type ReconcileResult } from '../../kube/controller.ts';
import { type PodDisruptionBudget, podDisruptionBudgets } from '../../kube/core-resources.ts';
import { isAlreadyExists, isConflict, isNotFound } from '../../kube/errors.ts';
import type { ControllerContext } from '../context.ts';

const minAvailable = 2;

type BudgetStep = 'nothing' | 'create' | 'repair' | 'delete' | 'isForeign';

function budgetName(virtualMachineName: string): string {
  return `vmferry-${virtualMachineName}`;
}

export function budgetFor({ metadata: { name, namespace, uid } }: VirtualMachine): PodDisruptionBudget {
  const carried = { [labels.virtualMachine]: name };
  return {
    apiVersion: 'policy/v1',
    kind: 'PodDisruptionBudget',
    metadata: {
      name: budgetName(name),
      namespace,
      labels: carried,
      ownerReferences: [{ apiVersion: `${group}/v1alpha1`, kind: 'VirtualMachine', name, uid, controller: true }],
    },
    spec: { minAvailable, selector: { matchLabels: carried } },
  };
}

/** @param budget the one of that name */
export function budgetStep(vm: VirtualMachine, budget: PodDisruptionBudget | undefined): BudgetStep {
  const isWanted = vm.spec.evictionPolicy !== 'Stop' && vm.metadata.deletionTimestamp === undefined;
  if (budget === undefined) return isWanted ? 'create' : 'nothing';
  const isOurs = budget.metadata.ownerReferences?.some(({ uid }) => uid === vm.metadata.uid) ?? false;
  if (!isOurs) return 'isForeign';
  if (budget.metadata.deletionTimestamp !== undefined) return 'nothing';
  // With its VM it goes by itself.
  if (!isWanted) return vm.metadata.deletionTimestamp === undefined ? 'delete' : 'nothing';
  const { spec } = budget;
  const selects = spec.selector?.matchLabels ?? {};
  const isRight =
    spec.minAvailable === minAvailable &&
    Object.keys(selects).length === 1 &&
    selects[labels.virtualMachine] === vm.metadata.name;
  return isRight ? 'nothing' : 'repair';
}

const executors: Record<BudgetStep, (context: ControllerContext, vm: VirtualMachine) => Promise<void>> = {
  nothing: async () => undefined,

  async create(context, vm) {
    context.budgets.observe(await context.client.create(podDisruptionBudgets, budgetFor(vm)));
  },

  async repair(context, vm) {
    const { metadata, spec } = budgetFor(vm);
    // `null` removes what a merge would keep.
    const patch = { spec: { ...spec, maxUnavailable: null } };
    context.budgets.observe(await context.client.mergePatch(podDisruptionBudgets, metadata, patch));
  },

  async delete(context, vm) {
    await context.client.delete(podDisruptionBudgets, budgetFor(vm).metadata);
  },

  /** Deleted with an owner of the same name, or somebody's own: its change is the next occasion. */
  async isForeign({ logger }, { metadata: { name, namespace } }) {
    logger.warn({ VirtualMachine: { name, namespace } }, `PodDisruptionBudget ${budgetName(name)} is not of this VM`);
  },
};

export function createDisruptionBudgetController(context: ControllerContext): Controller {
  const controller = new Controller({
    name: 'disruption-budget',
    logger: context.logger,
    maxBackoffMilliseconds: 30_000,
    reconcile: (key) => reconcile(context, key),
    observer: context.observerOf('disruption-budget'),
  });
  context.virtualMachines.onChange((key) => controller.enqueue(key));
  context.budgets.onChange((_key, current, previous) => {
    const { namespace, labels: carried } = (current ?? previous)?.metadata ?? {};
    controller.enqueue(`${namespace}/${carried?.[labels.virtualMachine]}`);
  });
  return controller;
}

async function reconcile(context: ControllerContext, key: string): Promise<ReconcileResult> {
  const vm = context.virtualMachines.cache.get(key);
  if (vm === undefined) return {};
  const { namespace, name } = vm.metadata;
  const step = budgetStep(vm, context.budgets.cache.get(`${namespace}/${budgetName(name)}`));
  try {
    await executors[step](context, vm);
  } catch (error) {
    // The cache is about to show what was not known of; one without our label it never shows.
    if (isAlreadyExists(error) || isConflict(error) || isNotFound(error)) return { requeueAfterMilliseconds: 30_000 };
    throw error;
  }
  return {};
}
