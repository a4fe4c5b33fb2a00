/** What holds of the controller's step whatever the facts. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  at,
  begun,
  checked,
  epoch,
  facts,
  type Given,
  moved,
  type Status,
  sending,
  since,
} from './controller-examples.testing.ts';
import type { AgentPresence, ControllerFacts, PodFacts } from './controller-facts.ts';
import { controllerStep } from './controller-step.ts';
import type { SourceVerdict, TargetVerdict } from './evidence.ts';
import { facts as fields, maybe, wherever } from './facts.test-support.ts';
import { limits } from './limits.ts';

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
    fc.boolean(),
  )
  .map(([status, source, target, gone, cleaning]): Status => {
    const withWords: Status = {
      ...status,
      ...(status.plan && source ? { source: { attempt: 1, sequence: 2, podUID: 'source-pod', verdict: source } } : {}),
      ...(status.plan && target ? { target: { attempt: 1, sequence: 2, podUID: 'target-pod', verdict: target } } : {}),
      ...(gone === undefined ? {} : { abort: gone ? { ...abort, sourceGone: true } : abort }),
    };
    // It begins on a word that keeps the guest at the source, or when it is settled that it is down.
    const mayBeCleaned = status.plan === undefined || gone || ['Aborted', 'Resumed', 'Gone'].includes(source ?? '');
    return cleaning && mayBeCleaned ? since(0, withWords, { type: 'TargetCleaned' }) : withWords;
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
    maybe(fc.constant({ status: moved })),
  )
  .map(([status, source, target, now, cancel, heard, vm = {}]) =>
    facts({ status, source, target, now, spec: { cancel }, heard, vm }),
  );
const controller = { anyFacts, step: controllerStep };

const words = ({ migration: { status = {} } }: ControllerFacts) => [status.source?.verdict, status.target?.verdict];

/** The target began to be removed after it had spoken, or its node had vouched for its end: nothing is heard any more. */
function isDown({ migration: { status = {} } }: ControllerFacts): boolean {
  return status.abort?.sourceGone === true && status.conditions?.some(({ type }) => type === 'TargetCleaned') === true;
}
const isOver = (pod: PodFacts) => pod.fenced !== undefined || (pod.exists && pod.terminated !== undefined);
/** Whoever could say how this pod's QEMU ended has had the time to, or never will. */
function isMute(pod: PodFacts, agent: AgentPresence | undefined): boolean {
  return pod.fenced !== undefined || (agent !== undefined && agent.seenAt >= epoch + limits.agentSpeaks);
}

test('a target that may run the guest is not deleted: its source has decided, or it has itself, or was never approved', () => {
  wherever(controller, 'deletePod', (given, { pod }) => {
    const [source, target] = words(given);
    const isTarget = given.targetPod.exists && given.targetPod.uid === pod.uid;
    const settled = ['Aborted', 'Resumed', 'Gone'].includes(source ?? '') || ['Refused', 'Gone'].includes(target ?? '');
    return isTarget && (settled || isDown(given) || given.migration.status?.plan === undefined);
  });
});

test('a pod is let go only when its QEMU is proven gone, or it never had one', () => {
  wherever(controller, 'releasePod', ({ targetPod, debts }, { pod }) => {
    const released = [targetPod, ...debts].find((each) => each.exists && each.uid === pod.uid);
    return released !== undefined && isOver(released);
  });
});

test('a target that has ended is not let go before somebody has said how, or never will', () => {
  wherever(controller, 'releasePod', (given) => {
    const { plan } = given.migration.status ?? {};
    const wordless = words(given).every((word) => word === undefined || word === 'Completed');
    return plan === undefined || !wordless || isDown(given) || isMute(given.targetPod, given.agents.target);
  });
});

test('ownership moves only to a target that took over, or was told and is gone, beside a source that may not know of it', () => {
  wherever(controller, 'moveOwnership', (given, { to }) => {
    if (to.podUID === 'source-pod') return true;
    const [source, target] = words(given);
    const { targetPod, sourcePod, agents, now } = given;
    if (isDown(given)) return false;
    if (target !== undefined) return target === 'TookOver' || target === 'Lost';
    const isHeard = agents.source !== undefined && now - agents.source.seenAt <= limits.agentSilent;
    return source === 'Completed' && isOver(targetPod) && !isOver(sourcePod) && isHeard;
  });
});

test('ownership moves back only from a target that never ran, or is down with its source', () => {
  wherever(controller, 'moveOwnership', (given, { fromPodUID, to }) => {
    if (to.podUID === 'target-pod') return fromPodUID === 'source-pod';
    const [source, target] = words(given);
    const never = ['Aborted', 'Resumed', 'Gone'].includes(source ?? '') || ['Refused', 'Gone'].includes(target ?? '');
    const ran = target === 'TookOver' || target === 'Lost';
    return fromPodUID === 'target-pod' && (isDown(given) || (never && !ran));
  });
});

test('while nothing is heard, somebody who was asked stays asked, and nothing more is written', () => {
  let seen = 0;
  fc.assert(
    fc.property(anyFacts, (given) => {
      const asked = controllerStep(given);
      if (asked.status?.phase !== 'NeedsAttention') return;
      seen += 1;
      const again = controllerStep({ ...given, migration: { ...given.migration, status: asked.status } });
      expect(again).toEqual(asked);
    }),
    { numRuns: 10_000 },
  );
  expect(seen).toBeGreaterThan(0);
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
    .map((hasMoved) => facts({ status: hasMoved ? { ...over, owner } : over, source: 'none', now: 60_000 }));
  const either = fc.oneof(anyFacts, anyEnded);
  wherever({ anyFacts: either, step: controllerStep }, 'unlockVirtualMachine', ({ migration: { status } }) =>
    ['Succeeded', 'Failed', 'Cancelled'].includes(status?.phase ?? ''),
  );
});
