import { describe, expect, test } from 'vitest';
import {
  cancelled,
  type Given,
  issued,
  kinds,
  moving,
  noted,
  type Present,
  plan,
  step,
  tells,
  told,
} from './source-examples.testing.ts';

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
    expect(step(given).effects).toMatchObject([
      { kind: 'removeTraces' },
      { kind: 'publishVerdict', verdict: 'Resumed' },
    ]);
    const published = { verdict: 'Resumed' as const };
    expect(kinds({ ...given, published })).toEqual([]);
  });

  test.each<{ scenario: string; given: Given; does: string[] }>([
    { scenario: 'it stands still, and is not continued', given: { targetWord: 'Gone' }, does: ['endQemu'] },
    {
      scenario: 'it stands still as it did before, and is not kept',
      given: { targetWord: 'Refused', journal: { issued: { at: 0, resumeTarget: false } } },
      does: ['endQemu'],
    },
    {
      scenario: 'it runs, for whatever reason',
      given: { targetWord: 'Lost', qemu: { runState: 'running' } },
      does: [],
    },
    {
      scenario: 'it runs, and it is not known whether the target ever ran',
      given: { qemu: { runState: 'running' } },
      does: [],
    },
    {
      scenario: 'its word is of another attempt',
      given: { targetWord: 'TookOver', qemu: { stamped: false } },
      does: [],
    },
  ])('ownership moved: $scenario', ({ given, does }) => {
    expect(kinds(told({ moved: true, ...given }))).toEqual(does);
  });

  test('an agent that ended between note and word tells, also when its QEMU is gone since', () => {
    const given: Given = { plan, journal: { issued, told: true }, qemu: { presence: 'gone' } };
    expect(kinds(given)).toEqual(['handOver', 'publishVerdict']);
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

  test.each<{ scenario: string; given: Given; does: string[] }>([
    { scenario: 'not before ownership has moved', given: { targetWord: 'Lost' }, does: [] },
    { scenario: 'when ownership has moved', given: { targetWord: 'Lost', moved: true }, does: ['endQemu'] },
    { scenario: 'not when the target runs', given: { targetWord: 'TookOver', moved: true }, does: [] },
  ])('a source whose connection broke is ended when the target was lost: $scenario', ({ given, does }) => {
    const qemu: Present = {
      presence: 'present',
      migration: 'postcopy-paused',
      runState: 'finish-migrate',
      stamped: true,
    };
    expect(kinds(told({ ...given, qemu }))).toEqual(does);
  });

  test.each<{ given: Given }>([{ given: { targetWord: 'Gone' } }, { given: { targetWord: 'Lost', moved: true } }])(
    'a result without this attempt’s stamp ends nothing ($given.targetWord)',
    ({ given }) => {
      const qemu: Present = { presence: 'present', migration: 'postcopy-active', runState: 'paused', stamped: false };
      expect(kinds(told({ ...given, qemu }))).not.toContain('endQemu');
    },
  );
});
