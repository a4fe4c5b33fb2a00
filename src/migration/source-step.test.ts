import { describe, expect, test } from 'vitest';
import type { Cause } from './cause.ts';
import {
  cancelled,
  type Given,
  issued,
  kinds,
  limits,
  moving,
  type Present,
  plan,
  step,
  tells,
} from './source-examples.testing.ts';

describe('before migrate', () => {
  test.each<{ scenario: string; given: Given; does: string[] }>([
    {
      scenario: 'the checks are told first',
      given: { plan, published: { preflight: false } },
      does: ['publishPreflight'],
    },
    { scenario: 'nothing happens before the plan', given: {}, does: [] },
    { scenario: 'the plan is followed', given: { plan }, does: ['issueMigrate'] },
    { scenario: 'a cancel wins over the plan', given: { plan, abort: cancelled }, does: ['recordAborted'] },
    {
      scenario: 'a QEMU that does not answer is waited for',
      given: { plan, qemu: { presence: 'unknown', frozen: true } },
      does: [],
    },
    { scenario: 'a QEMU that ended is told', given: { qemu: { presence: 'gone' } }, does: ['publishVerdict'] },
    {
      scenario: 'a QEMU that ended is told once',
      given: { qemu: { presence: 'gone' }, published: { verdict: 'Gone' } },
      does: [],
    },
  ])('$scenario', ({ given, does }) => {
    expect(kinds(given)).toEqual(does);
  });

  test.each([
    ['running', true],
    ['suspended', true],
    ['paused', false],
    ['io-error', false],
    ['guest-panicked', false],
  ])('a guest that is %s is to be continued at the target: %s', (runState, resumeTarget) => {
    expect(step({ plan, qemu: { runState } }).effects).toEqual([{ kind: 'issueMigrate', plan, limits, resumeTarget }]);
  });

  test.each<{ scenario: string; qemu: Partial<Present> }>([
    { scenario: 'between its note and the stamp', qemu: { stamped: false, migration: 'failed' } },
    { scenario: 'between the stamp and migrate', qemu: { stamped: true, migration: 'none' } },
    { scenario: 'before migrate, and the guest came here by one', qemu: { stamped: true, migration: 'completed' } },
    {
      scenario: 'before migrate, and the guest that came here by one is suspended',
      qemu: { stamped: true, migration: 'completed', runState: 'suspended' },
    },
  ])('an agent that ended $scenario issues it again', ({ qemu }) => {
    expect(step({ plan, journal: { issued: { at: 0, resumeTarget: false } }, qemu }).effects).toEqual([
      { kind: 'issueMigrate', plan, limits, resumeTarget: false },
    ]);
    expect(kinds({ plan, abort: cancelled, journal: { issued }, qemu })).toEqual(['recordAborted']);
  });
});

describe('while bytes flow', () => {
  test.each(['setup', 'active', 'device', 'wait-unplug', 'a state of next year'])('%s: it is watched', (migration) => {
    expect(step(moving(migration, 'running'))).toEqual({ effects: [], lookAgainAfter: 100 });
  });

  test('a wish to cancel is noted before it is carried out, and carried out until QEMU hears it', () => {
    expect(step(moving('active', 'running', { abort: cancelled })).effects).toEqual([
      { kind: 'recordCancel', cause: cancelled },
    ]);
    expect(kinds(moving('active', 'running', { journal: { cancel: cancelled } }))).toEqual(['cancelTransfer']);
    expect(kinds(moving('cancelling', 'finish-migrate', { journal: { cancel: cancelled } }))).toEqual([]);
  });

  test.each([
    ['TransferTimedOut', 'active', 60_001],
    ['TransferStuckInSetup', 'setup', 10_001],
  ])('%s', (reason, migration, now) => {
    expect(step(moving(migration, 'running', { now })).effects).toMatchObject([
      { kind: 'recordCancel', cause: { reason } },
    ]);
    expect(kinds(moving(migration, 'running', { now: now - 1 }))).toEqual([]);
  });

  test('no bytes for half a minute: given up, and a new watch begins the time anew', () => {
    const silent = { clock: { lastByteAt: 1_000, timeoutMilliseconds: 900_000 }, now: 31_001 };
    expect(step(moving('active', 'running', silent)).effects).toMatchObject([
      { kind: 'recordCancel', cause: { reason: 'TransferStalled' } },
    ]);
    const justBack = { ...silent, clock: { ...silent.clock, watchedSince: 20_000 } };
    expect(kinds(moving('active', 'running', justBack))).toEqual([]);
  });

  test('what it waited for before is taken back, once it has begun', () => {
    const waited = { published: { waiting: "The target's agent does not answer." } };
    expect(step(moving('active', 'running', waited)).effects).toEqual([{ kind: 'publishWaiting' }]);
  });

  test('a target that ended is not sent to any longer', () => {
    expect(step(moving('active', 'running', { targetWord: 'Gone' })).effects).toMatchObject([
      { kind: 'recordCancel', cause: { reason: 'TransferFailed' } },
    ]);
  });

  test('new limits are applied at once', () => {
    const faster = { ...limits, maxBandwidthBytesPerSecond: 5_000_000 };
    expect(step(moving('active', 'running', { limits: faster })).effects).toEqual([
      { kind: 'applyLimits', limits: faster },
    ]);
  });

  test('a QEMU that ends on the way is told', () => {
    expect(kinds(moving('active', 'running', { qemu: { presence: 'gone' } }))).toEqual(['publishVerdict']);
  });
});

describe('at the switchover', () => {
  const standing = (given: Given = {}) => moving('pre-switchover', 'finish-migrate', given);

  test.each<{ scenario: string; given: Given; does: string; reason?: string }>([
    { scenario: 'it goes on', given: {}, does: 'continueSwitchover' },
    { scenario: 'a cancel is noted', given: { abort: cancelled }, does: 'recordCancel', reason: 'Cancelled' },
    { scenario: 'a noted cancel is carried out', given: { journal: { cancel: cancelled } }, does: 'cancelTransfer' },
    {
      scenario: 'the target that ended is not waited for',
      given: { targetWord: 'Gone' },
      does: 'recordCancel',
      reason: 'TransferFailed',
    },
    {
      scenario: 'the guest runs on when nobody could be told',
      given: { handoverPath: { api: false } },
      does: 'recordCancel',
      reason: 'HandoverPathLost',
    },
    {
      scenario: 'the direct way alone is enough',
      given: { handoverPath: { api: false, direct: 'waiting' } },
      does: 'continueSwitchover',
    },
    {
      scenario: 'a target QEMU that is busy loading is no reason to stop',
      given: { handoverPath: { api: false, direct: 'silent' } },
      does: 'continueSwitchover',
    },
    { scenario: 'the API server alone is enough', given: { handoverPath: { api: true } }, does: 'continueSwitchover' },
    {
      scenario: 'the guest runs on when the target is said to have ended',
      given: { handoverPath: { api: true, direct: 'absent' } },
      does: 'recordCancel',
      reason: 'HandoverPathLost',
    },
  ])('$scenario', ({ given, does, reason }) => {
    expect(step(standing(given)).effects).toMatchObject([
      { kind: does, ...(reason === undefined ? {} : { cause: { reason } }) },
    ]);
  });
});

describe('the end of an attempt', () => {
  test('completed and postmigrate: noted, then told', () => {
    expect(step(moving('completed', 'postmigrate'))).toEqual({
      effects: [{ kind: 'recordTold' }, { kind: 'handOver' }, { kind: 'publishVerdict', verdict: 'Completed' }],
      lookAgainAfter: 100,
    });
  });

  test('completed alone is not told yet', () => {
    expect(step(moving('completed', 'finish-migrate'))).toEqual({ effects: [], lookAgainAfter: 1 });
  });

  test('completed wins over a cancel that came too late', () => {
    const late = { abort: cancelled, journal: { cancel: cancelled } };
    expect(kinds(moving('completed', 'postmigrate', late))).toEqual(tells);
  });

  test.each<{ scenario: string; given: Given; does: string[]; cause?: Partial<Cause> }>([
    { scenario: 'QEMU has yet to resume the guest', given: moving('failed', 'finish-migrate'), does: [] },
    { scenario: 'the guest runs again', given: moving('failed', 'running'), does: ['recordAborted'] },
    {
      scenario: 'an old QEMU left it in postmigrate',
      given: moving('cancelled', 'postmigrate'),
      does: ['continueGuest'],
    },
    {
      scenario: 'a paused guest is left paused',
      given: moving('cancelled', 'paused', { journal: { issued: { at: 0, resumeTarget: false } } }),
      does: ['recordAborted'],
    },
    {
      scenario: 'the noted cancel is the reason',
      given: moving('failed', 'running', { journal: { cancel: cancelled }, qemu: { error: 'reset by peer' } }),
      does: ['recordAborted'],
      cause: cancelled,
    },
    {
      scenario: "QEMU's own word is the reason",
      given: moving('failed', 'running', { qemu: { error: 'reset by peer' } }),
      does: ['recordAborted'],
      cause: { reason: 'TransferFailed', message: 'QEMU gave the transfer up: reset by peer.' },
    },
  ])('$scenario', ({ given, does, cause }) => {
    const { effects } = step(given);
    expect(effects.map(({ kind }) => kind)).toEqual(does);
    if (cause !== undefined) expect(effects[0]).toMatchObject({ cause });
  });

  test('given up: told once, whatever QEMU says later', () => {
    const given = moving('completed', 'postmigrate', { journal: { aborted: cancelled } });
    // Once the word is out the migration may end, and nobody comes back for the traces.
    expect(step(given).effects).toEqual([
      { kind: 'removeTraces' },
      { kind: 'publishVerdict', verdict: 'Aborted', cause: cancelled },
    ]);
    expect(kinds({ ...given, published: { verdict: 'Aborted' } })).toEqual(['removeTraces']);
    expect(kinds({ ...given, journal: { aborted: cancelled, tidied: true } })).toEqual(['publishVerdict']);
  });

  test.each<{ scenario: string; qemu: Given['qemu']; again: number | undefined }>([
    { scenario: 'that does not answer is tidied later', qemu: { presence: 'unknown', frozen: false }, again: 500 },
    { scenario: 'that has ended has nothing left in it', qemu: { presence: 'gone' }, again: undefined },
  ])('given up: a QEMU $scenario', ({ qemu = {}, again }) => {
    const given: Given = { journal: { issued, aborted: cancelled }, published: { verdict: 'Aborted' }, qemu };
    expect(step(given)).toEqual({ effects: [], ...(again === undefined ? {} : { lookAgainAfter: again }) });
  });
});

describe('on the edge', () => {
  // QEMU keeps an earlier attempt's failure until the next migrate, and an agent that ended between the stamp and that cannot tell
  // the two apart: a false Aborted, which is safe, and rare.
  test('a failure under this attempt’s stamp gives it up, be it an earlier one’s', () => {
    expect(kinds(moving('failed', 'running', { now: 1 }))).toEqual(['recordAborted']);
  });

  test('a migrate that QEMU refused is given up', () => {
    const journal = { issued, cancel: cancelled };
    const refused: Given = { plan, journal, qemu: { stamped: true, migration: 'none' } };
    expect(kinds(refused)).toEqual(['recordAborted']);
  });

  test('nothing is noted in a boot that has not seen this QEMU: what the target was told may be forgotten', () => {
    expect(kinds({ plan, abort: cancelled, qemu: { presence: 'notYet' } })).toEqual([]);
  });

  test('nothing was issued: a cancel does not wait for a QEMU that does not answer', () => {
    expect(kinds({ abort: cancelled, qemu: { presence: 'unknown', frozen: false } })).toEqual(['recordAborted']);
  });
});
