/** What holds of the controller's step whatever the facts. */
import fc from 'fast-check';
import { test } from 'vitest';
import { at, begun, checked, facts, type Given, type Status, sending, since } from './controller-examples.testing.ts';
import type { ControllerFacts } from './controller-facts.ts';
import { controllerStep } from './controller-step.ts';
import type { SourceVerdict, TargetVerdict } from './evidence.ts';
import { facts as fields, maybe, wherever } from './facts.test-support.ts';

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
      ...(status.plan && source ? { source: { attempt: 1, sequence: 2, podUID: 'source-pod', verdict: source } } : {}),
      ...(status.plan && target ? { target: { attempt: 1, sequence: 2, podUID: 'target-pod', verdict: target } } : {}),
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
    // When that began, the target had spoken or its node had vouched for its end.
    const { abort, conditions } = given.migration.status ?? {};
    const isDown = abort?.sourceGone === true && conditions?.some(({ type }) => type === 'TargetCleaned') === true;
    const settled = ['Aborted', 'Resumed', 'Gone'].includes(source ?? '') || ['Refused', 'Gone'].includes(target ?? '');
    return isTarget && (settled || isDown || given.migration.status?.plan === undefined);
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
