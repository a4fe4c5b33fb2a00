import { describe, expect, test } from 'vitest';
import { type Cause, type SourceFacts, type SourceQemu, sourceStep } from './source-step.ts';

const limits = { maxDowntimeMilliseconds: 300, maxBandwidthBytesPerSecond: 0 };
const plan = { host: '10.0.0.2', port: 4444 };
const cancelled: Cause = { reason: 'Cancelled', message: 'spec.cancel was set.' };

type Present = Extract<SourceQemu, { presence: 'present' }>;

/** A running guest that nobody has begun to move. */
interface Given extends Partial<Omit<SourceFacts, 'qemu' | 'journal' | 'published'>> {
  qemu?: Partial<Present> | Exclude<SourceQemu, Present>;
  journal?: Partial<SourceFacts['journal']>;
  published?: Partial<SourceFacts['published']>;
}

function step({ qemu, journal, published, ...given }: Given) {
  const present: Present = { presence: 'present', runState: 'running', migration: 'none', stamped: false, limits };
  return sourceStep({
    now: 1_000,
    limits,
    timeoutMilliseconds: 60_000,
    ownerMoved: false,
    handoverPathOpen: true,
    ...given,
    published: { preflight: true, downtime: false, ...published },
    journal: { told: false, ...journal },
    qemu: { ...present, ...qemu } as SourceQemu,
  });
}

const kinds = (given: Given) => step(given).effects.map(({ kind }) => kind);

const issued = { at: 0, resumeTarget: true };
/** `migrate` has been issued, and QEMU says so. */
function moving(migration: string, runState: string, given: Given = {}): Given {
  return {
    plan,
    ...given,
    journal: { issued, ...given.journal },
    qemu: { migration, runState, stamped: true, ...given.qemu } as Partial<Present>,
  };
}

const told = (given: Given = {}): Given =>
  moving('completed', 'postmigrate', {
    ...given,
    journal: { told: true, ...given.journal },
    published: { verdict: 'Completed', ...given.published },
  });

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
    { scenario: 'a QEMU that does not answer is waited for', given: { plan, qemu: { presence: 'unknown' } }, does: [] },
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
      given: { targetVerdict: 'Gone' },
      does: 'recordCancel',
      reason: 'TransferFailed',
    },
    {
      scenario: 'the guest runs on when nobody could be told',
      given: { handoverPathOpen: false },
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
    expect(step(moving('completed', 'postmigrate')).effects).toEqual([
      { kind: 'recordTold' },
      { kind: 'publishVerdict', verdict: 'Completed' },
    ]);
  });

  test('completed alone is not told yet', () => {
    expect(step(moving('completed', 'finish-migrate'))).toEqual({ effects: [], lookAgainAfter: 5 });
  });

  test('completed wins over a cancel that came too late', () => {
    const late = { abort: cancelled, journal: { cancel: cancelled } };
    expect(kinds(moving('completed', 'postmigrate', late))).toEqual(['recordTold', 'publishVerdict']);
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
    expect(step(given).effects).toEqual([{ kind: 'publishVerdict', verdict: 'Aborted', cause: cancelled }]);
    expect(kinds({ ...given, published: { verdict: 'Aborted' } })).toEqual([]);
  });
});

describe('after it has told', () => {
  test.each<{ scenario: string; given: Given; does: string[] }>([
    { scenario: 'it waits for the target', given: told(), does: [] },
    { scenario: 'a cancel changes nothing', given: told({ abort: cancelled }), does: [] },
    {
      scenario: 'the target runs: not ended before ownership has moved',
      given: told({ targetVerdict: 'TookOver' }),
      does: [],
    },
    {
      scenario: 'the target runs: the pause is told first',
      given: told({ targetVerdict: 'TookOver', ownerMoved: true, downtimeMilliseconds: 7 }),
      does: ['publishDowntime'],
    },
    {
      scenario: 'ownership has moved: it is ended',
      given: told({ targetVerdict: 'TookOver', ownerMoved: true }),
      does: ['endQemu'],
    },
    {
      scenario: 'ownership has moved, but the guest does not stand in postmigrate: it is not ended',
      given: told({ targetVerdict: 'TookOver', ownerMoved: true, qemu: { runState: 'running' } }),
      does: [],
    },
    {
      scenario: 'the target was lost after it may have run: it stays stopped',
      given: told({ targetVerdict: 'Lost' }),
      does: [],
    },
    {
      scenario: 'the target was lost and ownership has moved: it is ended',
      given: told({ targetVerdict: 'Lost', ownerMoved: true }),
      does: ['endQemu'],
    },
    {
      scenario: 'the target is gone and never ran: it is continued',
      given: told({ targetVerdict: 'Gone' }),
      does: ['continueGuest'],
    },
    {
      scenario: 'the target refused: it is continued',
      given: told({ targetVerdict: 'Refused' }),
      does: ['continueGuest'],
    },
    {
      scenario: 'it runs again: that is told',
      given: told({ targetVerdict: 'Gone', qemu: { runState: 'running' } }),
      does: ['publishVerdict'],
    },
    {
      scenario: 'a guest that stood still before is not continued',
      given: told({ targetVerdict: 'Gone', journal: { issued: { at: 0, resumeTarget: false } } }),
      does: ['publishVerdict'],
    },
    {
      scenario: 'it runs again, and has been told: that was the last word',
      given: told({ targetVerdict: 'Gone', qemu: { runState: 'running' }, published: { verdict: 'Resumed' } }),
      does: [],
    },
    {
      scenario: 'both are gone: the controller settles it',
      given: told({ targetVerdict: 'Gone', qemu: { presence: 'gone' } }),
      does: [],
    },
  ])('$scenario', ({ given, does }) => {
    expect(kinds(given)).toEqual(does);
  });

  test('an agent that ended between note and word tells, also when its QEMU is gone since', () => {
    const given: Given = { plan, journal: { issued, told: true }, qemu: { presence: 'gone' } };
    expect(step(given).effects).toEqual([{ kind: 'publishVerdict', verdict: 'Completed' }]);
  });
});

describe('on the edge', () => {
  // The sticky word of an earlier attempt, read as this one's: a false Aborted, which is safe, and rare.
  test.fails('an earlier failure is not taken for this attempt’s when the agent ended between the stamp and migrate', () => {
    expect(kinds(moving('failed', 'running', { now: 1 }))).toEqual(['issueMigrate']);
  });

  test('a migrate that QEMU refused is given up', () => {
    const journal = { issued, cancel: cancelled };
    const refused: Given = { plan, journal, qemu: { stamped: true, migration: 'none' } };
    expect(kinds(refused)).toEqual(['recordAborted']);
  });

  test('nothing was issued: a cancel does not wait for a QEMU that does not answer', () => {
    expect(kinds({ abort: cancelled, qemu: { presence: 'unknown' } })).toEqual(['recordAborted']);
  });
});
