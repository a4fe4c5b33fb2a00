import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { at, begun, checked, facts, type Given, type Status, sending, since } from './controller-examples.testing.ts';
import type { ControllerFacts } from './controller-facts.ts';
import { controllerStep } from './controller-step.ts';
import type { SourceVerdict, TargetVerdict } from './evidence.ts';
import { facts as fields, maybe, wherever } from './facts.test-support.ts';
import { renderOutcomes } from './outcome-table.testing.ts';
import { outcomes, type SourceStanding, sourceStanding, targetStanding } from './outcome-table.ts';

test('docs/safety.md shows this table', async () => {
  const path = new URL('../../docs/safety.md', import.meta.url);
  const page = await readFile(path, 'utf8');
  const between = /(<!-- outcomes: begin -->\n)[\s\S]*(\n<!-- outcomes: end -->)/;
  expect(page).toMatch(between);
  const fresh = page.replace(between, (_, begin: string, end: string) => `${begin}${renderOutcomes()}${end}`);
  const howToRefresh =
    'docs/safety.md is stale: npx vitest run src/migration/outcome-table.test.ts -u writes the table anew';
  await expect(fresh, howToRefresh).toMatchFileSnapshot(path.pathname);
});

describe('of the table', () => {
  const rows = Object.entries(outcomes) as [SourceStanding, (typeof outcomes)[SourceStanding]][];

  test('a target that has run is never rolled back, and one that never ran never takes the VM', () => {
    for (const [, row] of rows) {
      expect(['Move', 'Contradiction']).toContain(row.TookOver);
      expect(['DownAtTarget', 'Contradiction']).toContain(row.Lost);
      for (const never of [row.Refused, row.Gone]) expect(['Move', 'DownAtTarget', 'AwaitTarget']).not.toContain(never);
    }
  });

  test('a source that has given up, or runs again, keeps the VM', () => {
    for (const source of ['Aborted', 'Resumed'] as const)
      expect(new Set(Object.values(outcomes[source]))).toEqual(new Set(['RollBack', 'Contradiction']));
  });

  test('the VM is down at the source only when its QEMU is gone, and on a word or on the end of both', () => {
    for (const [source, row] of rows) {
      if (!Object.values(row).includes('DownAtSource')) continue;
      expect(['Gone', 'Ended', 'ToldAndEnded']).toContain(source);
    }
    expect(outcomes.Ended.Undecided).toBe('AwaitSourceWord');
    expect(outcomes.ToldAndEnded.Undecided).toBe('AwaitTarget');
  });
});

describe('standing', () => {
  const none = { exists: false } as const;
  const { sourcePod: running } = facts({});
  const { sourcePod: over } = facts({ source: { terminated: { exitCode: 0 } } });
  const { sourcePod: neverPlaced } = facts({ source: { nodeName: undefined, deleting: true } });

  test('its own word says more than its end', () => {
    expect(sourceStanding('Gone', running)).toBe('Gone');
    expect(sourceStanding('Aborted', over)).toBe('Aborted');
    expect(targetStanding('Refused', over)).toBe('Refused');
    expect(sourceStanding('Completed', running)).toBe('Told');
    expect(sourceStanding('Completed', over)).toBe('ToldAndEnded');
  });

  test('its end counts when it is proven, and a missing object proves nothing', () => {
    expect([sourceStanding(undefined, over), targetStanding(undefined, over)]).toEqual(['Ended', 'Ended']);
    expect([sourceStanding(undefined, none), targetStanding(undefined, none)]).toEqual(['Undecided', 'Undecided']);
    expect(targetStanding(undefined, { exists: false, fenced: 'it is off' })).toBe('Ended');
    expect(targetStanding(undefined, neverPlaced)).toBe('Undecided');
  });
});

describe('whatever the facts', () => {
  const owner = { podUID: 'target-pod', generation: 2 };
  const verdicts = {
    source: maybe(fc.constantFrom<SourceVerdict[]>('Completed', 'Aborted', 'Resumed', 'Gone')),
    target: maybe(fc.constantFrom<TargetVerdict[]>('TookOver', 'Refused', 'Gone', 'Lost')),
  };
  const abort = { attempt: 1, reason: 'Cancelled', message: '' };
  const anyStatus = fc
    .tuple(
      fc.constantFrom(begun, checked, sending, sending, sending),
      verdicts.source,
      verdicts.target,
      maybe(fc.boolean()),
    )
    .map(([status, source, target, gone]): Status => {
      const withWords: Status = {
        ...status,
        ...(status.plan && source
          ? { source: { attempt: 1, sequence: 2, podUID: 'source-pod', verdict: source } }
          : {}),
        ...(status.plan && target
          ? { target: { attempt: 1, sequence: 2, podUID: 'target-pod', verdict: target } }
          : {}),
        ...(gone === undefined ? {} : { abort: gone ? { ...abort, sourceGone: true } : abort }),
      };
      return since(0, withWords, { type: 'TargetCleaned' });
    });
  const anyPod = fc.oneof(
    fc.constant('none' as const),
    fields<Exclude<NonNullable<Given['target']>, 'none'>>({
      exists: fc.constant(true as const),
      name: fc.constant(undefined),
      uid: fc.constant(undefined),
      resourceVersion: fc.constant(undefined),
      unschedulable: fc.constant(undefined),
      nodeName: fc.constant(undefined),
      deleting: fc.boolean(),
      held: fc.boolean(),
      running: fc.boolean(),
      terminated: maybe(fc.constant({ exitCode: 1 })),
      fenced: maybe(fc.constant('it is off')),
    }),
  );
  const away = maybe(fc.constantFrom<(number | 'never')[]>('never', 1_000));
  const anyFacts: fc.Arbitrary<ControllerFacts> = fc
    .tuple(
      anyStatus,
      anyPod,
      anyPod,
      fc.nat({ max: 100_000 }),
      fc.boolean(),
      fields<NonNullable<Given['heard']>>({ source: away, target: away }),
    )
    .map(([status, source, target, now, cancel, heard]) =>
      facts({ status, source, target, now, spec: { cancel }, heard }),
    );
  const controller = { anyFacts, step: controllerStep };

  const words = ({ migration: { status = {} } }: ControllerFacts) => [status.source?.verdict, status.target?.verdict];

  test('a target that may run the guest is not deleted: its source has decided, or it has itself, or was never approved', () => {
    wherever(controller, 'deletePod', (given, { pod }) => {
      const [source, target] = words(given);
      const isTarget = given.targetPod.exists && given.targetPod.uid === pod.uid;
      const settled =
        ['Aborted', 'Resumed', 'Gone'].includes(source ?? '') || ['Refused', 'Gone'].includes(target ?? '');
      return isTarget && (settled || given.migration.status?.plan === undefined);
    });
  });

  test('a pod is let go only when its QEMU is proven gone, or it never had one', () => {
    wherever(controller, 'releasePod', ({ targetPod, debts }, { pod }) => {
      const released = [targetPod, ...debts].find((each) => each.exists && each.uid === pod.uid);
      return released?.exists === true && (released.terminated !== undefined || released.fenced !== undefined);
    });
  });

  test('ownership moves only to a target that took over, or was told and is gone', () => {
    wherever(controller, 'moveOwnership', (given) => {
      const [source, target] = words(given);
      const { targetPod } = given;
      const gone = targetPod.exists && (targetPod.terminated !== undefined || targetPod.fenced !== undefined);
      return target === 'TookOver' || target === 'Lost' || (source === 'Completed' && target === undefined && gone);
    });
  });

  test('a plan is made once, for an attempt that nobody has given up', () => {
    fc.assert(
      fc.property(anyFacts, (given) => {
        const before = given.migration.status ?? {};
        const after = controllerStep(given).status ?? {};
        return before.plan !== undefined || after.plan === undefined || before.abort === undefined;
      }),
    );
  });

  test('the VM is given back only when the migration has ended', () => {
    const over = since(
      0,
      { ...sending, phase: 'Failed', timeline: [{ phase: 'Failed', at: at(0) }] },
      { type: 'Finished', is: 'True' },
    );
    const anyEnded = fc
      .boolean()
      .map((moved) => facts({ status: moved ? { ...over, owner } : over, source: 'none', now: 60_000 }));
    const either = fc.oneof(anyFacts, anyEnded);
    wherever({ anyFacts: either, step: controllerStep }, 'unlockVirtualMachine', ({ migration: { status } }) =>
      ['Succeeded', 'Failed', 'Cancelled'].includes(status?.phase ?? ''),
    );
  });
});
