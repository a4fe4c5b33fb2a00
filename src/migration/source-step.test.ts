import { describe, expect, test } from 'vitest';
import type { Cause } from './cause.ts';
import { heardDirectly, type OwnershipMoved, ownershipMoved, type TargetVerdict } from './evidence.ts';
import { type SourceFacts, type SourceQemu, sourceStep } from './source-step.ts';

const limits = { maxDowntimeMilliseconds: 300, maxBandwidthBytesPerSecond: 0 };
const plan = { host: '10.0.0.2', port: 4444 };
const cancelled: Cause = { reason: 'Cancelled', message: 'spec.cancel was set.' };

type Present = Extract<SourceQemu, { presence: 'present' }>;

/** A running guest that nobody has begun to move. */
interface Given
  extends Partial<Omit<SourceFacts, 'qemu' | 'journal' | 'published' | 'clock' | 'targetWord' | 'ownershipMoved'>> {
  qemu?: Partial<Present> | Exclude<SourceQemu, Present>;
  clock?: Partial<SourceFacts['clock']>;
  targetWord?: TargetVerdict;
  moved?: boolean;
  journal?: Partial<SourceFacts['journal']>;
  published?: Partial<SourceFacts['published']>;
}

const moved = ownershipMoved({
  owner: { podUID: 'target-pod', generation: 2 },
  targetPod: { name: 'web-m', uid: 'target-pod' },
}) as OwnershipMoved;

function step({ qemu, journal, published, clock, targetWord, moved: hasMoved = false, ...given }: Given) {
  const present: Present = { presence: 'present', runState: 'running', migration: 'none', stamped: false, limits };
  return sourceStep({
    now: 1_000,
    limits,
    encrypted: false,
    handoverPath: { api: true, direct: 'waiting' },
    ...given,
    ...(targetWord === undefined ? {} : { targetWord: heardDirectly(targetWord) }),
    ...(hasMoved ? { ownershipMoved: moved } : {}),
    clock: { watchedSince: 0, apiSince: 0, handshakeDone: false, timeoutMilliseconds: 60_000, ...clock },
    published: { preflight: true, downtime: false, ...published },
    journal: { told: false, tidied: false, ...journal },
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

/** Noted, and not yet published. */
const noted = (given: Given = {}): Given => moving('completed', 'postmigrate', { ...given, journal: { told: true } });

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

/** Noted before it is said, and said on both ways. */
const tells = ['recordTold', 'handOver', 'publishVerdict'];

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

describe('after it has told', () => {
  test.each<{ scenario: string; given: Given; does: string[] }>([
    { scenario: 'it says so until the target answers', given: told(), does: ['handOver'] },
    {
      scenario: 'it says so on both ways, until each has carried it',
      given: noted(),
      does: ['handOver', 'publishVerdict'],
    },
    { scenario: 'a cancel changes nothing', given: told({ abort: cancelled }), does: ['handOver'] },
    {
      scenario: 'the target answered before the API server did: that is still told',
      given: noted({ targetWord: 'Gone' }),
      does: ['publishVerdict'],
    },
    {
      scenario: 'the target runs: not ended before ownership has moved',
      given: told({ targetWord: 'TookOver' }),
      does: [],
    },
    {
      scenario: 'the target runs: the pause is told first',
      given: told({ targetWord: 'TookOver', moved: true, downtimeMilliseconds: 7 }),
      does: ['publishDowntime'],
    },
    {
      scenario: 'ownership has moved: it is ended',
      given: told({ targetWord: 'TookOver', moved: true }),
      does: ['endQemu'],
    },
    {
      scenario: 'ownership has moved, but the guest does not stand in postmigrate: it is not ended',
      given: told({ targetWord: 'TookOver', moved: true, qemu: { runState: 'running' } }),
      does: [],
    },
    {
      scenario: 'the target was lost after it may have run: it stays stopped',
      given: told({ targetWord: 'Lost' }),
      does: [],
    },
    {
      scenario: 'the target was lost and ownership has moved: it is ended',
      given: told({ targetWord: 'Lost', moved: true }),
      does: ['endQemu'],
    },
    {
      scenario: 'the target is gone and never ran: it is continued',
      given: told({ targetWord: 'Gone' }),
      does: ['continueGuest'],
    },
    {
      scenario: 'the target refused: it is continued',
      given: told({ targetWord: 'Refused' }),
      does: ['continueGuest'],
    },
    {
      scenario: 'it runs again: that is told',
      given: told({ targetWord: 'Gone', qemu: { runState: 'running' } }),
      does: ['removeTraces', 'publishVerdict'],
    },
    {
      scenario: 'a guest that stood still before is not continued',
      given: told({ targetWord: 'Gone', journal: { issued: { at: 0, resumeTarget: false } } }),
      does: ['removeTraces', 'publishVerdict'],
    },
    {
      scenario: 'it runs again, and has been told: that was the last word',
      given: told({ targetWord: 'Gone', qemu: { runState: 'running' }, published: { verdict: 'Resumed' } }),
      does: [],
    },
    {
      scenario: 'both are gone: the controller settles it',
      given: told({ targetWord: 'Gone', qemu: { presence: 'gone' } }),
      does: [],
    },
  ])('$scenario', ({ given, does }) => {
    expect(kinds(given)).toEqual(does);
  });

  test('it runs again, and ownership moved before it could say so: it says so', () => {
    const given = told({ targetWord: 'Gone', moved: true, qemu: { runState: 'running' } });
    expect(step(given).effects).toMatchObject([{ kind: 'publishVerdict', verdict: 'Resumed' }]);
  });

  test('an agent that ended between note and word tells, also when its QEMU is gone since', () => {
    const given: Given = { plan, journal: { issued, told: true }, qemu: { presence: 'gone' } };
    expect(kinds(given)).toEqual(['handOver', 'publishVerdict']);
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

  test('nothing is noted in a boot that has not seen this QEMU: what the target was told may be forgotten', () => {
    expect(kinds({ plan, abort: cancelled, qemu: { presence: 'notYet' } })).toEqual([]);
  });

  test('nothing was issued: a cancel does not wait for a QEMU that does not answer', () => {
    expect(kinds({ abort: cancelled, qemu: { presence: 'unknown', frozen: false } })).toEqual(['recordAborted']);
  });
});

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

describe('post-copy', () => {
  test('the target is told when it is fit to run and the source has stopped', () => {
    expect(kinds(moving('postcopy-active', 'finish-migrate'))).toEqual(tells);
    expect(kinds(moving('postcopy-active', 'running'))).toEqual([]);
  });

  const wished = { abort: cancelled, journal: { cancel: cancelled } };

  test('postcopy-device: neither cancelled nor told', () => {
    expect(step(moving('postcopy-device', 'finish-migrate', wished))).toEqual({ effects: [], lookAgainAfter: 100 });
  });

  test.each(['postcopy-paused', 'postcopy-recover'])('%s: not cancelled; the target owns the guest', (migration) => {
    expect(kinds(moving(migration, 'finish-migrate', wished))).toEqual(tells);
  });

  test.each<{ scenario: string; given: Given; does: string[] }>([
    { scenario: 'not ended while the target still needs its memory', given: { moved: true }, does: [] },
    {
      scenario: 'ended when the target has ended: a half is no guest',
      given: { targetWord: 'Gone' },
      does: ['endQemu'],
    },
    { scenario: 'the same when the target refused', given: { targetWord: 'Refused' }, does: ['endQemu'] },
  ])('$scenario', ({ given, does }) => {
    const qemu = {
      presence: 'present',
      migration: 'postcopy-active',
      runState: 'finish-migrate',
      stamped: true,
    } as const;
    expect(kinds(told({ ...given, qemu }))).toEqual(does);
  });

  test('ended when it has completed', () => {
    expect(kinds(told({ moved: true, targetWord: 'TookOver' }))).toEqual(['endQemu']);
  });
});
