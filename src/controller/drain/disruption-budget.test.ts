import { expect, test } from 'vitest';
import type { VirtualMachine } from '../../api/objects.ts';
import type { PodDisruptionBudget } from '../../kube/core-resources.ts';
import { budgetFor, budgetStep } from './disruption-budget.ts';

type Policy = VirtualMachine['spec']['evictionPolicy'];

function aVirtualMachine(evictionPolicy: Policy, uid = 'web-uid', deleting = false): VirtualMachine {
  const metadata = { name: 'web', namespace: 'default', uid, ...(deleting ? { deletionTimestamp: 'now' } : {}) };
  return { metadata, spec: { evictionPolicy, memory: '1Gi', firmware: { bios: {} } } } as unknown as VirtualMachine;
}

const migrates = aVirtualMachine('LiveMigrate');
const right = budgetFor(migrates);
const changed = (spec: Partial<PodDisruptionBudget['spec']>) => ({ ...right, spec: { ...right.spec, ...spec } });

test.each<[string, Policy, PodDisruptionBudget | undefined, string]>([
  ['moves, and has none', 'LiveMigrate', undefined, 'create'],
  ['says nothing, which is the default, and has none', undefined, undefined, 'create'],
  ['moves, and has one', 'LiveMigrate', right, 'nothing'],
  ['moves, and has one that one pod satisfies', 'LiveMigrate', changed({ minAvailable: 1 }), 'repair'],
  ['moves, and has one for other pods', 'LiveMigrate', changed({ selector: { matchLabels: { a: 'b' } } }), 'repair'],
  ['moves, and has one that is being deleted', 'LiveMigrate', deleting(right), 'nothing'],
  ['is stopped, and has one', 'Stop', right, 'delete'],
  ['is stopped, and has none', 'Stop', undefined, 'nothing'],
])('a VM that %s', (_, policy, budget, step) => {
  expect(budgetStep(aVirtualMachine(policy), budget)).toBe(step);
});

function deleting(budget: PodDisruptionBudget): PodDisruptionBudget {
  return { ...budget, metadata: { ...budget.metadata, deletionTimestamp: 'now' } };
}

test.each(['LiveMigrate', 'Stop'] as const)('one of somebody else is left alone (%s)', (policy) => {
  expect(budgetStep(aVirtualMachine(policy, 'a later one'), right)).toBe('isForeign');
});

test('a VM that is being deleted keeps the one it has, which goes with it, and gets none', () => {
  const vm = aVirtualMachine('LiveMigrate', 'web-uid', true);
  expect([right, undefined].map((budget) => budgetStep(vm, budget))).toEqual(['nothing', 'nothing']);
});
