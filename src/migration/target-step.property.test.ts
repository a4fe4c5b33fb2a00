/** What holds of the target's step whatever the facts. */
import fc from 'fast-check';
import { test } from 'vitest';
import type { Cause } from './cause.ts';
import { heardDirectly, type SourceGone, type SourceVerdict, sourceGone } from './evidence.ts';
import { facts, maybe, wherever } from './facts.test-support.ts';
import { type TargetEffect, type TargetFacts, type TargetQemu, targetStep } from './target-step.ts';

type Present = Extract<TargetQemu, { presence: 'present' }>;

const asked: Cause = { reason: 'TargetNotAnswering', message: 'The target stayed silent.' };
const gone = sourceGone({
  attempt: 1,
  abort: { attempt: 1, reason: 'SourceLost', message: '', sourceGone: true },
}) as SourceGone;

const cause = fc.constant(asked);
const anyFacts = facts<TargetFacts>({
  sourceWord: maybe(
    fc.constantFrom<SourceVerdict[]>('Completed', 'Completed', 'Aborted', 'Resumed', 'Gone').map(heardDirectly),
  ),
  resumeTarget: fc.boolean(),
  sourceGone: maybe(fc.constant(gone)),
  abandoned: fc.boolean(),
  refusalAsked: maybe(cause),
  address: maybe(fc.constant('10.0.0.2')),
  mayListen: fc.boolean(),
  published: facts<TargetFacts['published']>({
    endpoint: fc.boolean(),
    verdict: maybe(fc.constantFrom('TookOver', 'Refused', 'Gone', 'Lost')),
  }),
  // The state directory refuses the second of two notes.
  journal: fc.oneof(
    fc.record({ continued: fc.boolean(), tidied: fc.boolean() }),
    fc.oneof(cause, fc.constant(true as const)).map((refused) => ({ continued: false, tidied: false, refused })),
  ),
  qemu: fc.oneof(
    fc.record({ presence: fc.constantFrom('notYet' as const, 'unknown' as const, 'gone' as const) }),
    facts<Present>({
      presence: fc.constant('present' as const),
      runState: fc.constantFrom('inmigrate', 'paused', 'running', 'io-error', 'suspended', 'prelaunch'),
      migration: fc.constantFrom(
        'none',
        'setup',
        'active',
        'completed',
        'failed',
        'postcopy-active',
        'postcopy-paused',
      ),
      error: maybe(fc.string()),
      port: maybe(fc.constant(4444)),
    }),
  ),
});
const target = { anyFacts, step: targetStep };
const has = (effects: TargetEffect[], kind: TargetEffect['kind']) => effects.some((effect) => effect.kind === kind);

test('the guest is never continued and ended, nor noted both ways, in one step', () => {
  wherever(target, 'continueGuest', (_, __, effects) => !has(effects, 'endQemu') && !has(effects, 'recordRefused'));
  wherever(target, 'recordContinued', (_, __, effects) => !has(effects, 'recordRefused'));
});

test("the guest is continued only on the source's word, when QEMU has everything, and never after it was refused", () => {
  wherever(target, 'recordContinued', ({ sourceWord, qemu, journal }, { because }) => {
    const complete = qemu.presence === 'present' && ['completed', 'postcopy-active'].includes(qemu.migration);
    const told = sourceWord === 'Completed' && because === sourceWord;
    return told && journal.refused === undefined && complete && qemu.runState !== 'inmigrate';
  });
  wherever(target, 'continueGuest', ({ journal, resumeTarget }, _, effects) => {
    return resumeTarget && journal.refused === undefined && (journal.continued || has(effects, 'recordContinued'));
  });
});

test('the note comes before the deed', () => {
  wherever(target, 'recordContinued', (_, effect, effects) => effects[0] === effect);
});

test('QEMU is ended only when it was refused, or when a part of its memory was lost with the source', () => {
  wherever(target, 'endQemu', ({ journal, qemu, sourceGone: sourceEnded }) => {
    const halved = qemu.presence === 'present' && qemu.migration.startsWith('postcopy-') && sourceEnded !== undefined;
    return journal.refused !== undefined || (journal.continued && halved);
  });
});

test('it is refused only as long as it was not continued; and when it was told, only if it cannot have everything', () => {
  wherever(target, 'recordRefused', ({ journal, sourceWord, sourceGone: sourceEnded, qemu }) => {
    const migration = qemu.presence === 'present' ? qemu.migration : 'none';
    const lacks = migration === 'failed' || (migration === 'postcopy-paused' && sourceEnded !== undefined);
    return !journal.continued && (sourceWord !== 'Completed' || lacks);
  });
});

test('what the attempt has made is removed from a QEMU that took over, once that is said', () => {
  wherever(target, 'removeTraces', ({ journal, published, qemu }, _, [first]) => {
    const isSaid =
      published.verdict !== undefined || (first?.kind === 'publishVerdict' && first.verdict === 'TookOver');
    return journal.continued && !journal.tidied && qemu.presence === 'present' && isSaid;
  });
});

test('what it says for good is what it has noted and sees', () => {
  wherever(target, 'publishVerdict', ({ journal, qemu }, { verdict }) => {
    const ended = qemu.presence === 'gone';
    if (journal.continued) return verdict === (ended ? 'Lost' : 'TookOver');
    return journal.refused === undefined ? verdict === 'Gone' && ended : verdict === 'Refused';
  });
});
