import { describe, expect, test } from 'vitest';
import type { Cause } from './cause.ts';
import { heardDirectly, type SourceGone, type SourceVerdict, sourceGone } from './evidence.ts';
import { type TargetFacts, type TargetQemu, targetStep } from './target-step.ts';

type Present = Extract<TargetQemu, { presence: 'present' }>;

/** A target whose QEMU is up and has not been told anything. */
interface Given
  extends Partial<Omit<TargetFacts, 'qemu' | 'journal' | 'published' | 'address' | 'sourceWord' | 'sourceGone'>> {
  sourceWord?: SourceVerdict;
  sourceEnded?: boolean;
  addressKnown?: boolean;
  qemu?: Partial<Present> | Exclude<TargetQemu, Present>;
  journal?: Partial<TargetFacts['journal']>;
  published?: Partial<TargetFacts['published']>;
}

const gone = sourceGone({
  attempt: 1,
  abort: { attempt: 1, reason: 'SourceLost', message: '', sourceGone: true },
}) as SourceGone;

function step({ qemu, journal, published, addressKnown = true, sourceWord, sourceEnded = false, ...given }: Given) {
  const present: Present = { presence: 'present', runState: 'inmigrate', migration: 'none' };
  return targetStep({
    resumeTarget: true,
    abandoned: false,
    mayListen: true,
    ...(sourceWord === undefined ? {} : { sourceWord: heardDirectly(sourceWord) }),
    ...(sourceEnded ? { sourceGone: gone } : {}),
    ...(addressKnown ? { address: '10.0.0.2' } : {}),
    ...given,
    published: { endpoint: false, ...published },
    journal: { continued: false, tidied: true, ...journal },
    qemu: { ...present, ...qemu } as TargetQemu,
  });
}

const asked: Cause = { reason: 'TargetNotAnswering', message: 'The target stayed silent.' };
const kinds = (given: Given) => step(given).effects.map(({ kind }) => kind);

const complete: Partial<Present> = { runState: 'paused', migration: 'completed', port: 4444 };
const loaded = (given: Given = {}): Given => ({ ...given, published: { endpoint: true }, qemu: complete });

describe('getting ready', () => {
  test.each<{ scenario: string; given: Given; does: string[] }>([
    { scenario: 'it listens where the pod can be reached', given: {}, does: ['listen'] },
    { scenario: 'the node has not reported the address yet', given: { addressKnown: false }, does: [] },
    { scenario: 'it says where it listens', given: { qemu: { port: 4444 } }, does: ['publishReady'] },
    { scenario: 'it has said so', given: { published: { endpoint: true }, qemu: { port: 4444 } }, does: [] },
    { scenario: 'QEMU has not started', given: { qemu: { presence: 'notYet' } }, does: [] },
    { scenario: 'QEMU does not answer', given: { qemu: { presence: 'unknown' } }, does: [] },
    { scenario: 'QEMU ended', given: { qemu: { presence: 'gone' } }, does: ['publishVerdict'] },
    { scenario: 'the certificate of the source is waited for', given: { mayListen: false }, does: [] },
    { scenario: 'a failed load cannot be repeated', given: { qemu: { migration: 'failed' } }, does: ['recordRefused'] },
  ])('$scenario', ({ given, does }) => {
    expect(kinds(given)).toEqual(does);
  });
});

describe('taking over', () => {
  test.each<{ scenario: string; given: Given; does: string[] }>([
    { scenario: 'its own completed is no evidence', given: loaded(), does: [] },
    {
      scenario: 'the source told: noted, then continued',
      given: loaded({ sourceWord: 'Completed' }),
      does: ['recordContinued', 'continueGuest'],
    },
    {
      scenario: 'a guest that stood still is noted, and not continued',
      given: loaded({ sourceWord: 'Completed', resumeTarget: false }),
      does: ['recordContinued'],
    },
    {
      scenario: 'the source told, and its QEMU has ended since',
      given: loaded({ sourceWord: 'Completed', sourceEnded: true }),
      does: ['recordContinued', 'continueGuest'],
    },
    {
      scenario: 'never while QEMU loads',
      given: { sourceWord: 'Completed', qemu: { runState: 'inmigrate', migration: 'completed' } },
      does: [],
    },
    {
      scenario: 'never before QEMU is complete',
      given: { sourceWord: 'Completed', qemu: { runState: 'paused', migration: 'active' } },
      does: [],
    },
    { scenario: 'the source gave up', given: loaded({ sourceWord: 'Aborted' }), does: ['recordRefused'] },
    { scenario: 'the source ended without a word', given: loaded({ sourceEnded: true }), does: ['recordRefused'] },
    {
      scenario: 'it ended before it ran',
      given: { sourceWord: 'Completed', qemu: { presence: 'gone' } },
      does: ['publishVerdict'],
    },
  ])('$scenario', ({ given, does }) => {
    expect(kinds(given)).toEqual(does);
  });

  test('a complete QEMU is asked again soon: the guest stands still', () => {
    const given: Given = { sourceWord: 'Completed', qemu: { runState: 'inmigrate', migration: 'active' } };
    expect(step(given)).toEqual({ effects: [], lookAgainAfter: 1 });
  });

  test('also a QEMU that is too busy to answer', () => {
    const busy: Given = { sourceWord: 'Completed', published: { endpoint: true }, qemu: { presence: 'unknown' } };
    expect(step(busy).lookAgainAfter).toBeLessThanOrEqual(20);
  });

  test('in post-copy it runs while memory still comes, and is said to have taken over when all has come', () => {
    const fit = { runState: 'paused', migration: 'postcopy-active' };
    expect(kinds({ sourceWord: 'Completed', qemu: fit })).toEqual(['recordContinued', 'continueGuest']);
    const runs: Given = { sourceWord: 'Completed', journal: { continued: true } };
    expect(step({ ...runs, qemu: { runState: 'running', migration: 'postcopy-active' } })).toEqual({
      effects: [],
      lookAgainAfter: 100,
    });
    expect(step({ ...runs, qemu: { runState: 'running', migration: 'completed' } }).effects).toEqual([
      { kind: 'publishVerdict', verdict: 'TookOver' },
    ]);
  });

  test('in post-copy it is refused when its source ended before it was continued', () => {
    const halved: Given = { sourceWord: 'Completed', qemu: { runState: 'paused', migration: 'postcopy-paused' } };
    expect(kinds(halved)).toEqual([]);
    expect(kinds({ ...halved, sourceEnded: true })).toEqual(['recordRefused']);
  });

  test('in post-copy it ends with its source: memory that never came is lost', () => {
    const given: Given = { sourceWord: 'Completed', sourceEnded: true, journal: { continued: true } };
    expect(step({ ...given, qemu: { runState: 'running', migration: 'postcopy-paused' } }).effects).toEqual([
      { kind: 'endQemu', now: true },
    ]);
  });
});

describe('after the note to continue', () => {
  const continued = (qemu: Given['qemu'], given: Given = {}): Given => ({
    sourceWord: 'Completed',
    ...given,
    journal: { continued: true },
    ...(qemu === undefined ? {} : { qemu }),
  });

  test.each<{ scenario: string; given: Given; does: string; verdict?: string }>([
    { scenario: 'cont has not arrived', given: continued(complete), does: 'continueGuest' },
    {
      scenario: 'it runs',
      given: continued({ ...complete, runState: 'running' }),
      does: 'publishVerdict',
      verdict: 'TookOver',
    },
    {
      scenario: 'it ran into an error of its disk',
      given: continued({ ...complete, runState: 'io-error' }),
      does: 'publishVerdict',
      verdict: 'TookOver',
    },
    {
      scenario: 'it is to stand still',
      given: continued(complete, { resumeTarget: false }),
      does: 'publishVerdict',
      verdict: 'TookOver',
    },
    { scenario: 'it ended', given: continued({ presence: 'gone' }), does: 'publishVerdict', verdict: 'Lost' },
    {
      scenario: 'it is never refused any more, whatever becomes of the source or is asked',
      given: continued(
        { ...complete, runState: 'running' },
        { sourceEnded: true, abandoned: true, refusalAsked: asked },
      ),
      does: 'publishVerdict',
      verdict: 'TookOver',
    },
    {
      scenario: 'the source says that it runs the guest, which cannot be',
      given: continued({ ...complete, runState: 'running' }, { sourceWord: 'Aborted' }),
      does: 'stopGuest',
    },
    {
      scenario: 'the source says that it runs again, which cannot be',
      given: continued({ ...complete, runState: 'running' }, { sourceWord: 'Resumed' }),
      does: 'stopGuest',
    },
  ])('$scenario', ({ given, does, verdict }) => {
    expect(step(given).effects).toEqual([
      {
        kind: does,
        ...(does === 'continueGuest' ? { because: 'Continued' } : {}),
        ...(verdict === undefined ? {} : { verdict }),
      },
    ]);
  });
});

describe('what the attempt has made in QEMU', () => {
  const runs: Given = {
    sourceWord: 'Completed',
    journal: { continued: true, tidied: false },
    qemu: { ...complete, runState: 'running' },
  };

  test('is removed once the word is out', () => {
    expect(kinds(runs)).toEqual(['publishVerdict', 'removeTraces']);
  });

  test('also by an agent that comes back after the word', () => {
    const said: Given = { ...runs, published: { verdict: 'TookOver' } };
    expect(kinds(said)).toEqual(['removeTraces']);
    expect(kinds({ ...said, journal: { continued: true, tidied: true } })).toEqual([]);
  });

  test('is tried again after a while, when QEMU does not let go of it', () => {
    expect(step({ ...runs, published: { verdict: 'TookOver' } }).lookAgainAfter).toBeGreaterThan(0);
  });

  test('is left to a QEMU that does not answer or has ended', () => {
    for (const presence of ['unknown', 'gone'] as const)
      expect(step({ ...runs, published: { verdict: 'TookOver' }, qemu: { presence } })).toEqual({ effects: [] });
  });

  test('the word is not kept waiting for it', () => {
    const { effects } = step(runs);
    expect(effects).toEqual([{ kind: 'publishVerdict', verdict: 'TookOver' }, { kind: 'removeTraces' }]);
  });
});

describe('giving up', () => {
  test.each<{ scenario: string; given: Given; effect: object }>([
    {
      scenario: 'nobody can ever tell it to run',
      given: loaded({ abandoned: true }),
      effect: { kind: 'recordRefused' },
    },
    {
      scenario: 'the same before its QEMU has started',
      given: { abandoned: true, qemu: { presence: 'notYet' } },
      effect: { kind: 'recordRefused' },
    },
    {
      scenario: "the source's agent asks it to",
      given: { refusalAsked: asked, qemu: { presence: 'unknown' } },
      effect: { kind: 'recordRefused', cause: asked },
    },
    {
      scenario: 'QEMU says why it could not load',
      given: { sourceWord: 'Completed', qemu: { migration: 'failed', error: 'Unknown ramblock' } },
      effect: {
        kind: 'recordRefused',
        cause: {
          reason: 'TransferFailed',
          message: "The target QEMU could not load the guest's state: Unknown ramblock.",
        },
      },
    },
    {
      scenario: 'the source ended before it had completed',
      given: loaded({ sourceWord: 'Gone' }),
      effect: { kind: 'recordRefused' },
    },
  ])('$scenario', ({ given, effect }) => {
    expect(step(given).effects).toEqual([effect]);
  });

  test.each<{ scenario: string; given: Given }>([
    { scenario: 'given up by the controller', given: { abandoned: true } },
    { scenario: 'whose source ended', given: { sourceEnded: true } },
  ])('a target that was told is not refused for being $scenario: it is the only copy', ({ given }) => {
    expect(kinds(loaded({ ...given, sourceWord: 'Completed' }))).toEqual(['recordContinued', 'continueGuest']);
  });

  test('nor because the source asked for it before it told', () => {
    expect(kinds(loaded({ refusalAsked: asked, sourceWord: 'Completed' }))).toEqual([
      'recordContinued',
      'continueGuest',
    ]);
  });
});

describe('after the note to refuse', () => {
  const refused = (given: Given): Given => ({ ...given, journal: { refused: true } });

  test('one for which a guest stands still is ended without asking it first', () => {
    expect(step({ journal: { refused: asked }, qemu: { presence: 'unknown' } }).effects).toEqual([
      { kind: 'endQemu', now: true },
    ]);
    expect(step(refused({})).effects).toEqual([{ kind: 'endQemu', now: false }]);
  });

  test('the noted reason is told', () => {
    expect(step({ journal: { refused: asked }, qemu: { presence: 'gone' } }).effects).toEqual([
      { kind: 'publishVerdict', verdict: 'Refused', cause: asked },
    ]);
  });

  test.each<{ scenario: string; given: Given; does: string }>([
    { scenario: 'QEMU is ended', given: refused({ qemu: complete }), does: 'endQemu' },
    { scenario: 'also one that does not answer', given: refused({ qemu: { presence: 'unknown' } }), does: 'endQemu' },
    {
      scenario: 'also when the source tells afterwards',
      given: refused(loaded({ sourceWord: 'Completed' })),
      does: 'endQemu',
    },
    { scenario: 'told when it is gone', given: refused({ qemu: { presence: 'gone' } }), does: 'publishVerdict' },
    {
      scenario: 'told when it never was there',
      given: refused({ qemu: { presence: 'notYet' } }),
      does: 'publishVerdict',
    },
  ])('$scenario', ({ given, does }) => {
    expect(step(given).effects).toMatchObject([
      does === 'publishVerdict' ? { kind: does, verdict: 'Refused' } : { kind: does },
    ]);
  });
});

test.each(['TookOver', 'Gone', 'Lost'] as const)('%s is the last word', (verdict) => {
  expect(kinds({ ...loaded({ sourceWord: 'Completed' }), published: { endpoint: true, verdict } })).toEqual([]);
});

describe('after it was refused', () => {
  test('a QEMU that starts after its target was refused is ended', () => {
    const late: Given = { journal: { refused: true }, published: { endpoint: false, verdict: 'Refused' } };
    expect(kinds(late)).toEqual(['endQemu']);
  });
});
