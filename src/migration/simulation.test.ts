import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { VirtualMachineMigration } from '../api/objects.ts';
import { controllerStep } from './controller-step.ts';
import { calmlyUntil, search, walk } from './simulation/search.test-support.ts';
import { type Beginning, begin, latest, type Steps, type World } from './simulation/world.test-support.ts';
import { sourceStep } from './source-step.ts';
import { targetStep } from './target-step.ts';

const shippedSteps: Steps = { sourceStep, targetStep, controllerStep };
const noTimeLimit = { timeout: 120_000 };

function explore(beginning: Beginning, steps: Steps = shippedSteps) {
  const { broken, ...outcome } = search(begin(beginning), steps, { maxStates: 100_000 });
  return { ...outcome, broken: Object.fromEntries(broken) };
}

describe('the three steps together', () => {
  test.each<{ scenario: string; beginning: Beginning }>([
    { scenario: 'any one fault at any moment', beginning: { faults: 1 } },
    { scenario: 'cancelled or deleted at any moment', beginning: { faults: 0, wish: true, earlier: 'completed' } },
    { scenario: 'a paused guest', beginning: { faults: 0, guest: 'paused', earlier: 'completed' } },
  ])('$scenario', noTimeLimit, ({ beginning }) => {
    expect(explore(beginning)).toMatchObject({ complete: true, broken: {} });
  });

  test('four faults and a cancel on ways taken at random', noTimeLimit, () => {
    const guests = fc.constantFrom<Beginning>(
      { faults: 4, wish: true },
      { faults: 4, guest: 'paused' },
      { faults: 4, earlier: 'failed' },
    );
    const choices = fc.array(fc.nat({ max: 999 }), { minLength: 20, maxLength: 120, size: 'max' });
    fc.assert(
      fc.property(guests, choices, (beginning, ways) => {
        const { broken, trace } = walk(begin(beginning), shippedSteps, ways);
        expect(broken, trace.join('\n')).toBe('');
      }),
      { numRuns: 1_000, seed: 1 },
    );
  });

  test('whoever crashes, the VM moves', noTimeLimit, () => {
    const { broken, complete } = search(transferring(), shippedSteps, {
      maxStates: 100_000,
      without: (what) => what.startsWith('FAULT') && !/crashes|unanswered|asleep/.test(what),
      atRest: (w) => (latest(w).status?.phase === 'Succeeded' ? undefined : 'I8: it did not succeed'),
    });
    expect({ complete, broken: Object.fromEntries(broken) }).toEqual({ complete: true, broken: {} });
  });
});

/** Memory is being sent, and everybody knows everything. */
function transferring(): World {
  const sending = ({ source }: World) => source.migration === 'active';
  const w = calmlyUntil(begin({ faults: 1 }), shippedSteps, sending);
  return { ...w, versions: w.versions.slice(-1), behind: { source: 0, target: 0, controller: 0 } };
}

describe('a wrong step is found out', () => {
  const wrong: { mistake: string; steps: Partial<Steps>; rule: RegExp }[] = [
    {
      mistake: 'the target continues on its own word',
      steps: {
        targetStep: (facts) => {
          const complete = facts.qemu.presence === 'present' && facts.qemu.migration === 'completed';
          return targetStep(complete ? { ...facts, sourceVerdict: 'Completed' } : facts);
        },
      },
      rule: /before the source said Completed/,
    },
    {
      mistake: 'the source is ended before ownership has moved',
      steps: { sourceStep: (facts) => sourceStep({ ...facts, ownerMoved: true }) },
      rule: /before ownership has moved/,
    },
    {
      mistake: 'the source is continued because the target is gone',
      steps: {
        sourceStep: (facts) => sourceStep(facts.targetVerdict === 'Lost' ? { ...facts, targetVerdict: 'Gone' } : facts),
      },
      rule: /the source runs after the target has/,
    },
    {
      mistake: 'the target forgets that it has continued',
      steps: { targetStep: (facts) => targetStep({ ...facts, journal: { ...facts.journal, continued: false } }) },
      rule: /I1|I2|I3|refuses/,
    },
    {
      mistake: 'the controller takes the source for the target, too',
      steps: {
        controllerStep: (facts) => {
          const { migration } = facts;
          const { source, target } = migration.status ?? {};
          if (source?.verdict !== 'Completed' || target === undefined) return controllerStep(facts);
          const status = { ...migration.status, target: { ...target, verdict: 'TookOver' as const } };
          return controllerStep({ ...facts, migration: { ...migration, status } });
        },
      },
      rule: /I4|I2/,
    },
  ];

  test.each(wrong)('$mistake', noTimeLimit, ({ steps, rule }) => {
    const { broken } = search(transferring(), { ...shippedSteps, ...steps }, { maxStates: 4_000 });
    expect([...broken.keys()].join()).toMatch(rule);
  });
});

describe('late writes', () => {
  const begun = ({ status }: VirtualMachineMigration) => status?.attempt !== undefined;
  const calmly = (from: World, reached: (migration: VirtualMachineMigration) => boolean) =>
    calmlyUntil(from, shippedSteps, (w) => reached(latest(w)));

  test('an agent’s first write that arrives late takes no final word back', () => {
    const fresh = calmly(begin({ faults: 0 }), begun);
    const base = fresh.versions.at(-1) ?? 0;
    const told = calmly(fresh, ({ status }) => status?.source?.verdict === 'Completed');
    const w: World = { ...told, lateWrite: { side: 'source', base, fields: { preflight: {} } } };
    expect(search(w, shippedSteps, { maxStates: 200 }).broken).toEqual(new Map());
  });
});
