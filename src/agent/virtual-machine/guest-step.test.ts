import { describe, expect, test } from 'vitest';
import { type GuestFacts, guestStep, type QemuFacts, waits } from './guest-step.ts';

const now = Date.parse('2026-01-02T03:04:05.678Z');
const podUID = 'pod-1';

const present = (runState: string, blockers: string[] = []): QemuFacts => ({
  presence: 'present',
  runState,
  running: runState === 'running',
  blockers,
});

function step(given: Partial<GuestFacts>) {
  return guestStep({
    now,
    podUID,
    wish: 'Run',
    gracePeriodMilliseconds: 30_000,
    qemu: present('running'),
    held: false,
    ...given,
  });
}

const acts = (given: Partial<GuestFacts>) => step(given).effects.map(({ kind }) => kind);

describe('a guest that is to run', () => {
  test('runs: nothing is done', () => expect(acts({})).toEqual([]));
  test('was started without running: it is continued', () =>
    expect(acts({ qemu: present('prelaunch') })).toEqual(['continue']));
  test('was paused by its owner: it is continued', () =>
    expect(acts({ qemu: present('paused'), held: true })).toEqual(['continue', 'release']));
  test('was paused by somebody else: it is left alone', () => expect(acts({ qemu: present('paused') })).toEqual([]));
  test('stands at a disk error: it is left alone', () => expect(acts({ qemu: present('io-error') })).toEqual([]));
  test('stood at a disk error, and its owner has said Paused since: it goes on', () =>
    expect(acts({ qemu: present('io-error'), held: true })).toEqual(['continue', 'release']));
  test('goes on, but the note is there still: it is taken back, so that the next disk error stops the guest', () =>
    expect(acts({ held: true })).toEqual(['release']));
  test.each([
    'guest-panicked',
    'internal-error',
    'shutdown',
    'postmigrate',
    'inmigrate',
    'finish-migrate',
    'new-state',
  ])('is %s: it is never continued', (runState) => expect(acts({ qemu: present(runState), held: true })).toEqual([]));
  test('was to end a moment ago: the way down is forgotten', () =>
    expect(step({ powerDown: { requestedAt: now } }).effects).toEqual([
      { kind: 'notePowerDown', powerDown: undefined },
    ]));
});

describe('a guest that is to stand still', () => {
  test('runs: noted first, then stopped', () => {
    expect(acts({ wish: 'Pause' })).toEqual(['hold']);
    expect(acts({ wish: 'Pause', held: true })).toEqual(['stop']);
  });
  test('stands: nothing is done', () =>
    expect(acts({ wish: 'Pause', held: true, qemu: present('paused') })).toEqual([]));
  test('was started without running: it stays so', () =>
    expect(acts({ wish: 'Pause', held: true, qemu: present('prelaunch') })).toEqual([]));
});

describe('a guest that is to end', () => {
  const wish = 'End';
  const requestedAt = now - 1_000;

  test('is noted, then hears the power button', () => {
    expect(step({ wish }).effects).toEqual([{ kind: 'notePowerDown', powerDown: { requestedAt: now } }]);
    expect(step({ wish, powerDown: { requestedAt } }).effects).toEqual([
      { kind: 'notePowerDown', powerDown: { requestedAt, pressedAt: now } },
      { kind: 'pressPowerButton' },
    ]);
  });
  test('boots still and has missed the button: it is pressed again after five seconds', () => {
    const early = step({ wish, powerDown: { requestedAt, pressedAt: now - 1_000 } });
    expect(early).toMatchObject({ effects: [], lookAgainAfter: waits.press - 1_000 });
    expect(acts({ wish, powerDown: { requestedAt, pressedAt: now - waits.press } })).toContain('pressPowerButton');
  });
  test('is looked at again when its time is up, if that comes before the next press', () => {
    const late = { requestedAt: now - 29_000, pressedAt: now - 1_000 };
    expect(step({ wish, powerDown: late }).lookAgainAfter).toBe(1_000);
  });
  test('was paused by its owner: it is continued to hear the button', () =>
    expect(acts({ wish, powerDown: { requestedAt }, held: true, qemu: present('paused') })).toEqual([
      'continue',
      'release',
    ]));
  test('has used up its time: QEMU is told to quit', () =>
    expect(step({ wish, powerDown: { requestedAt: now - 30_000, pressedAt: now - 1_000 } }).effects).toEqual([
      { kind: 'notePowerDown', powerDown: { requestedAt: now - 30_000, pressedAt: now - 1_000, quitAt: now } },
      { kind: 'quit' },
    ]));
  test('has no time at all: QEMU is told to quit at once', () =>
    expect(acts({ wish, powerDown: { requestedAt: now }, gracePeriodMilliseconds: 0 })).toContain('quit'));
  test('does not quit: QEMU is killed after five seconds', () => {
    const quitAt = now - 1_000;
    expect(step({ wish, powerDown: { requestedAt, quitAt } })).toMatchObject({ effects: [], lookAgainAfter: 4_000 });
    expect(acts({ wish, powerDown: { requestedAt, quitAt: now - waits.quit } })).toEqual(['kill']);
  });
  test.each(['prelaunch', 'shutdown', 'guest-panicked', 'internal-error'])(
    'is %s and deaf: it gets no time',
    (runState) => expect(acts({ wish, powerDown: { requestedAt }, qemu: present(runState) })).toContain('quit'),
  );
  test('and whose QEMU does not answer has its time, then is told to quit, then killed', () => {
    const qemu = { presence: 'unknown' } as const;
    expect(step({ wish, powerDown: { requestedAt }, qemu })).toMatchObject({
      effects: [],
      lookAgainAfter: waits.answer,
    });
    expect(acts({ wish, powerDown: { requestedAt: now - 30_000 }, qemu })).toContain('quit');
    expect(acts({ wish, powerDown: { requestedAt, quitAt: now - waits.quit }, qemu })).toEqual(['kill']);
  });
  test('has ended: nothing is left to do', () =>
    expect(acts({ wish, powerDown: { requestedAt }, qemu: { presence: 'gone' } })).toEqual([]));
});

test('a QEMU that has not started is looked for soon, one that is gone never again', () => {
  expect(step({ qemu: { presence: 'notYet' } })).toEqual({ effects: [], lookAgainAfter: waits.start });
  expect(step({ qemu: { presence: 'gone' } }).lookAgainAfter).toBeUndefined();
});

describe('the report', () => {
  const published = { podUID, runState: 'running', running: true, blockers: [], sequence: 7 };

  test('is made at once', () =>
    expect(step({}).report).toEqual({ podUID, runState: 'running', running: true, blockers: [], sequence: 1 }));
  test('is not repeated', () => expect(step({ published }).report).toBeUndefined());
  test('says what has changed, under the next number', () => {
    expect(step({ published, qemu: present('paused') }).report).toEqual({
      ...published,
      runState: 'paused',
      running: false,
      sequence: 8,
    });
    expect(step({ published, qemu: present('running', ['9p is mounted']) }).report).toMatchObject({ sequence: 8 });
  });
  test('goes on counting from an earlier pod’s', () =>
    expect(step({ published: { ...published, podUID: 'pod-0' } }).report).toMatchObject({ podUID, sequence: 8 }));
  test('tells since when the guest is being asked to power down', () =>
    expect(step({ wish: 'End', published, powerDown: { requestedAt: now, pressedAt: now } }).report).toMatchObject({
      powerDownRequestedAt: '2026-01-02T03:04:05.678Z',
    }));
  test('waits for what is being done', () => expect(step({ qemu: present('prelaunch') }).report).toBeUndefined());
  test('tells once that QEMU has ended, and nothing of one that has not started', () => {
    const gone = { presence: 'gone' } as const;
    const { report } = step({ published, qemu: gone });
    expect(report).toEqual({ ...published, runState: 'ended', running: false, sequence: 8 });
    if (report === undefined) throw new Error('there is no report');
    expect(step({ published: report, qemu: gone })).toEqual({ effects: [] });
    expect(step({ published, qemu: { presence: 'notYet' } }).report).toBeUndefined();
  });
  test('of a QEMU that does not answer is not made', () =>
    expect(step({ published, qemu: { presence: 'unknown' } }).report).toBeUndefined());
});
