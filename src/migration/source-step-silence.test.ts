import { describe, expect, test } from 'vitest';
import type { Cause } from './cause.ts';
import { cancelled, type Given, issued, kinds, moving, plan, step } from './source-examples.testing.ts';
import type { SourceFacts } from './source-step.ts';

describe('an encrypted transfer', () => {
  const encrypted = (direct: SourceFacts['handoverPath']['direct'], given: Given = {}): Given => ({
    plan,
    encrypted: true,
    ...given,
    handoverPath: { api: true, ...(direct === undefined ? {} : { direct }) },
  });
  const silent = "The target's agent does not answer the source's agent directly.";

  test('begins when the target has just said that it waits', () => {
    expect(kinds(encrypted('waiting'))).toEqual(['issueMigrate']);
  });

  test.each<{ direct: SourceFacts['handoverPath']['direct']; reason: string; message: string }>([
    { direct: undefined, reason: 'HandoverPathLost', message: silent },
    { direct: 'silent', reason: 'TargetNotReady', message: "The target's agent says that its QEMU is silent." },
    { direct: 'absent', reason: 'TargetNotReady', message: "The target's agent says that its QEMU is absent." },
    { direct: 'other', reason: 'TargetNotReady', message: "The target's agent says that its QEMU is other." },
  ])('does not begin while the target is $direct, and says once what it waits for', ({ direct, reason, message }) => {
    expect(step(encrypted(direct))).toEqual({
      effects: [{ kind: 'publishWaiting', cause: { reason, message } }],
      lookAgainAfter: 100,
    });
    expect(step(encrypted(direct, { published: { waiting: message } }))).toEqual({ effects: [], lookAgainAfter: 100 });
  });

  test('a cancel does not wait for the target', () => {
    expect(kinds(encrypted(undefined, { abort: cancelled }))).toEqual(['recordAborted']);
  });

  test('is not issued again by an agent that comes back, before the target has said that it waits', () => {
    const cameBack: Given = { journal: { issued }, qemu: { stamped: false } };
    expect(kinds(encrypted('waiting', cameBack))).toEqual(['issueMigrate']);
    expect(kinds(encrypted('silent', cameBack))).not.toContain('issueMigrate');
  });

  test('an agent that came back says what it waits for, too', () => {
    expect(kinds(encrypted(undefined, { journal: { issued }, qemu: { stamped: false } }))).toEqual(['publishWaiting']);
  });

  test.each(['Gone', 'Refused'] as const)('nothing is sent to a target that has said %s', (targetWord) => {
    expect(kinds(encrypted('absent', { targetWord }))).toEqual(['recordAborted']);
    expect(kinds({ plan, targetWord })).toEqual(['recordAborted']);
  });
});

describe('a QEMU that does not answer', () => {
  const silent = (frozen: boolean, given: Given = {}): Given => ({
    plan,
    encrypted: true,
    ...given,
    journal: { issued, ...given.journal },
    qemu: { presence: 'unknown', frozen },
  });

  test('frozen in the handshake: the guest stands still for it, so it is given up at once', () => {
    expect(step(silent(true)).effects).toMatchObject([
      { kind: 'recordCancel', cause: { reason: 'TargetNotAnswering' } },
    ]);
  });

  test('the stream is cut past the main loop, and the target is asked to end, until QEMU answers', () => {
    const cause: Cause = { reason: 'TargetNotAnswering', message: 'It stayed silent.' };
    expect(step(silent(true, { journal: { cancel: cause } }))).toEqual({
      effects: [{ kind: 'cutStream' }, { kind: 'askTargetToRefuse', cause }],
      lookAgainAfter: 200,
    });
    expect(kinds(moving('failed', 'running', { journal: { cancel: cause } }))).toEqual(['recordAborted']);
  });

  test.each<{ scenario: string; given: Given }>([
    { scenario: 'a process that is stopped as a whole is waited for', given: silent(false) },
    {
      scenario: 'one that is stopped as a whole cannot be cut',
      given: silent(false, { journal: { cancel: cancelled } }),
    },
    {
      scenario: 'one that hangs later than in the handshake is waited for',
      given: silent(true, { clock: { handshakeDone: true } }),
    },
  ])('$scenario', ({ given }) => {
    expect(step(given)).toEqual({ effects: [], lookAgainAfter: 200 });
  });

  test('after the target was told, nothing is cut or cancelled', () => {
    expect(kinds(silent(true, { journal: { told: true }, published: { verdict: 'Completed' } }))).toEqual(['handOver']);
  });

  test('a wish to cancel is noted, so that it can be carried out', () => {
    const hangs = { clock: { handshakeDone: true } };
    expect(kinds(silent(true, { ...hangs, abort: cancelled }))).toEqual(['recordCancel']);
    expect(kinds(silent(false, { ...hangs, abort: cancelled }))).toEqual(['recordCancel']);
    expect(kinds(silent(true, { ...hangs, targetWord: 'Gone' }))).toEqual(['recordCancel']);
  });

  test('without encryption a QEMU that is slow in setup is not given up', () => {
    expect(kinds(silent(true, { encrypted: false }))).toEqual([]);
  });
});
