import { describe, expect, test } from 'vitest';
import { type TargetFacts, type TargetQemu, targetStep } from './target-step.ts';

type Present = Extract<TargetQemu, { presence: 'present' }>;

/** A target whose QEMU is up and has not been told anything. */
interface Given extends Partial<Omit<TargetFacts, 'qemu' | 'journal' | 'published' | 'address'>> {
  addressKnown?: boolean;
  qemu?: Partial<Present> | Exclude<TargetQemu, Present>;
  journal?: Partial<TargetFacts['journal']>;
  published?: Partial<TargetFacts['published']>;
}

function step({ qemu, journal, published, addressKnown = true, ...given }: Given) {
  const present: Present = { presence: 'present', runState: 'inmigrate', migration: 'none' };
  return targetStep({
    resumeTarget: true,
    sourceGone: false,
    ...(addressKnown ? { address: '10.0.0.2' } : {}),
    ...given,
    published: { endpoint: false, ...published },
    journal: { continued: false, refused: false, ...journal },
    qemu: { ...present, ...qemu } as TargetQemu,
  });
}

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
      given: loaded({ sourceVerdict: 'Completed' }),
      does: ['recordContinued', 'continueGuest'],
    },
    {
      scenario: 'a guest that stood still is noted, and not continued',
      given: loaded({ sourceVerdict: 'Completed', resumeTarget: false }),
      does: ['recordContinued'],
    },
    {
      scenario: 'the source told, and its QEMU has ended since',
      given: loaded({ sourceVerdict: 'Completed', sourceGone: true }),
      does: ['recordContinued', 'continueGuest'],
    },
    {
      scenario: 'never while QEMU loads',
      given: { sourceVerdict: 'Completed', qemu: { runState: 'inmigrate', migration: 'completed' } },
      does: [],
    },
    {
      scenario: 'never before QEMU is complete',
      given: { sourceVerdict: 'Completed', qemu: { runState: 'paused', migration: 'active' } },
      does: [],
    },
    { scenario: 'the source gave up', given: loaded({ sourceVerdict: 'Aborted' }), does: ['recordRefused'] },
    { scenario: 'the source ended without a word', given: loaded({ sourceGone: true }), does: ['recordRefused'] },
    {
      scenario: 'it ended before it ran',
      given: { sourceVerdict: 'Completed', qemu: { presence: 'gone' } },
      does: ['publishVerdict'],
    },
  ])('$scenario', ({ given, does }) => {
    expect(kinds(given)).toEqual(does);
  });

  test('a complete QEMU is asked again soon: the guest stands still', () => {
    const given: Given = { sourceVerdict: 'Completed', qemu: { runState: 'inmigrate', migration: 'active' } };
    expect(step(given)).toEqual({ effects: [], lookAgainAfter: 2 });
  });
});

describe('after the note to continue', () => {
  const continued = (qemu: Given['qemu'], given: Given = {}): Given => ({
    sourceVerdict: 'Completed',
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
      scenario: 'it is never refused any more',
      given: continued({ ...complete, runState: 'running' }, { sourceVerdict: 'Aborted', sourceGone: true }),
      does: 'publishVerdict',
      verdict: 'TookOver',
    },
  ])('$scenario', ({ given, does, verdict }) => {
    expect(step(given).effects).toEqual([{ kind: does, ...(verdict === undefined ? {} : { verdict }) }]);
  });
});

describe('after the note to refuse', () => {
  const refused = (given: Given): Given => ({ ...given, journal: { refused: true } });

  test.each<{ scenario: string; given: Given; does: string }>([
    { scenario: 'QEMU is ended', given: refused({ qemu: complete }), does: 'endQemu' },
    { scenario: 'also one that does not answer', given: refused({ qemu: { presence: 'unknown' } }), does: 'endQemu' },
    {
      scenario: 'also when the source tells afterwards',
      given: refused(loaded({ sourceVerdict: 'Completed' })),
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
  expect(kinds({ ...loaded({ sourceVerdict: 'Completed' }), published: { endpoint: true, verdict } })).toEqual([]);
});

describe('after it was refused', () => {
  test('a QEMU that starts after its target was refused is ended', () => {
    const late: Given = { journal: { refused: true }, published: { endpoint: false, verdict: 'Refused' } };
    expect(kinds(late)).toEqual(['endQemu']);
  });
});
