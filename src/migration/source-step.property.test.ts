/** What holds of the source's step whatever the facts. */
import fc from 'fast-check';
import { test } from 'vitest';
import type { Cause } from './cause.ts';
import { heardDirectly, type OwnershipMoved, ownershipMoved, type TargetVerdict } from './evidence.ts';
import { facts, maybe, wherever } from './facts.test-support.ts';
import { type SourceFacts, type SourceQemu, sourceStep } from './source-step.ts';

type Present = Extract<SourceQemu, { presence: 'present' }>;

const limits = { maxDowntimeMilliseconds: 300, maxBandwidthBytesPerSecond: 0 };
const plan = { host: '10.0.0.2', port: 4444 };
const cancelled: Cause = { reason: 'Cancelled', message: 'spec.cancel was set.' };
const moved = ownershipMoved({
  owner: { podUID: 'target-pod', generation: 2 },
  targetPod: { name: 'web-m', uid: 'target-pod' },
}) as OwnershipMoved;

const cause = fc.constant(cancelled);
const time = fc.nat({ max: 100_000 });
const runStates = ['running', 'paused', 'postmigrate', 'finish-migrate', 'inmigrate', 'io-error', 'new'];
const anyPresent = facts<Present>({
  presence: fc.constant('present' as const),
  runState: fc.constantFrom(...runStates),
  migration: fc.constantFrom(
    ...['none', 'setup', 'active', 'pre-switchover', 'device', 'completed', 'failed', 'cancelling', 'cancelled'],
    ...['postcopy-active', 'postcopy-paused', 'postcopy-recover', 'a state of next year'],
  ),
  stamped: fc.boolean(),
  error: maybe(fc.string()),
  limits: maybe(fc.constant({ ...limits, maxBandwidthBytesPerSecond: 7 })),
});
const complete: Present = { presence: 'present', runState: 'postmigrate', migration: 'completed', stamped: true };
const anyFacts = facts<SourceFacts>({
  now: time,
  plan: maybe(fc.constant(plan)),
  unspoken: maybe(cause),
  encrypted: fc.boolean(),
  abort: maybe(cause),
  limits: fc.constant(limits),
  ownershipMoved: maybe(fc.constant(moved)),
  targetWord: maybe(fc.constantFrom<TargetVerdict[]>('TookOver', 'Refused', 'Gone', 'Lost').map(heardDirectly)),
  published: facts<SourceFacts['published']>({
    preflight: fc.boolean(),
    downtime: fc.boolean(),
    waiting: maybe(fc.string()),
    verdict: maybe(fc.constantFrom('Completed', 'Aborted', 'Resumed', 'Gone')),
  }),
  journal: facts<SourceFacts['journal']>({
    issued: maybe(fc.record({ at: time, resumeTarget: fc.boolean() })),
    cancel: maybe(cause),
    told: fc.boolean(),
    aborted: maybe(cause),
    tidied: fc.boolean(),
  }),
  qemu: fc.oneof(
    fc.constantFrom<SourceQemu[]>({ presence: 'notYet' }, { presence: 'gone' }, complete),
    fc.record({ presence: fc.constant('unknown' as const), frozen: fc.boolean() }),
    { arbitrary: anyPresent, weight: 3 },
  ),
  handoverPath: facts<SourceFacts['handoverPath']>({
    api: fc.boolean(),
    direct: maybe(fc.constantFrom('waiting', 'silent', 'absent', 'other')),
  }),
  clock: facts<SourceFacts['clock']>({
    watchedSince: time,
    apiSince: maybe(time),
    lastByteAt: maybe(time),
    handshakeDone: fc.boolean(),
    timeoutMilliseconds: fc.constant(60_000),
  }),
  downtimeMilliseconds: maybe(fc.nat({ max: 1_000 })),
});
const source = { anyFacts, step: sourceStep };

const present = ({ qemu }: SourceFacts) => (qemu.presence === 'present' ? qemu : undefined);

test('QEMU is ended only when ownership has moved and it has sent everything, or when a post-copy has lost its target', () => {
  wherever(source, 'endQemu', ({ journal, published, ownershipMoved: hasMoved, targetWord, qemu }, { because }) => {
    if (qemu.presence !== 'present' || !journal.told || published.verdict === undefined) return false;
    const hasSent = qemu.stamped && qemu.migration === 'completed' && qemu.runState === 'postmigrate';
    const isSpread = qemu.migration.startsWith('postcopy-');
    if (because === 'OwnershipMoved') return because === hasMoved && (hasSent || (isSpread && targetWord === 'Lost'));
    return hasMoved === undefined && because === targetWord && ['Gone', 'Refused'].includes(because) && isSpread;
  });
});

test('an attempt is given up only in a boot that has seen its QEMU', () => {
  wherever(source, 'recordAborted', ({ qemu: { presence }, journal }) =>
    journal.issued === undefined ? presence === 'present' || presence === 'unknown' : presence === 'present',
  );
});

test('the traces of an attempt are removed before the word that ends it at the source', () => {
  wherever(source, 'publishVerdict', (given, effect, effects) => {
    const { journal, qemu, ownershipMoved: hasMoved } = given;
    if (effect.verdict !== 'Aborted' && effect.verdict !== 'Resumed') return true;
    // To be mended: one that runs again when ownership has moved leaves them.
    if (effect.verdict === 'Resumed' && hasMoved !== undefined) return true;
    const removed = effects.findIndex(({ kind }) => kind === 'removeTraces');
    return journal.tidied || qemu.presence !== 'present' || (removed >= 0 && removed < effects.indexOf(effect));
  });
});

test('the target is told only of what QEMU has completed or handed over, and never after the attempt was given up', () => {
  wherever(source, 'recordTold', (given) => {
    const qemu = present(given);
    const hasSent = qemu?.migration === 'completed' && qemu.runState === 'postmigrate';
    const isSpread = qemu?.migration.startsWith('postcopy-') && qemu.runState !== 'running';
    return given.journal.aborted === undefined && qemu?.stamped === true && (hasSent || isSpread === true);
  });
  wherever(source, 'handOver', ({ journal }) => journal.aborted === undefined || journal.told);
});

test('the guest is continued only when the target was never told, or never ran and never will, and ownership has not moved', () => {
  wherever(source, 'continueGuest', (given, { because }) => {
    const { journal, targetWord, ownershipMoved: hasMoved } = given;
    if (because === 'NotHandedOver')
      return !journal.told && ['failed', 'cancelled'].includes(present(given)?.migration ?? '');
    return journal.told && hasMoved === undefined && targetWord === because && ['Gone', 'Refused'].includes(because);
  });
});

test('nothing is cancelled or cut after the target was told, nor in post-copy', () => {
  const isSpread = (given: SourceFacts) =>
    given.journal.issued !== undefined &&
    present(given)?.stamped === true &&
    present(given)?.migration.startsWith('postcopy-') === true;
  const free = (given: SourceFacts) => !given.journal.told && !isSpread(given);
  wherever(source, 'cancelTransfer', free);
  wherever(source, 'cutStream', free);
  wherever(source, 'askTargetToRefuse', free);
  wherever(source, 'recordAborted', free);
});

test('migrate is issued once, for a plan that is understood, and not against a wish', () => {
  wherever(source, 'issueMigrate', (given) => {
    const { plan: approved, abort, encrypted, handoverPath, journal, unspoken } = given;
    const again = journal.issued !== undefined;
    const sent = again && present(given)?.stamped && !['none', 'completed'].includes(present(given)?.migration ?? '');
    if (unspoken !== undefined) return false;
    return approved !== undefined && abort === undefined && !sent && (!encrypted || handoverPath.direct === 'waiting');
  });
});

test('the last words are told of what is noted', () => {
  wherever(
    source,
    'publishVerdict',
    ({ journal, qemu, targetWord, published, ownershipMoved: hasMoved }, { verdict }) => {
      switch (verdict) {
        case 'Completed':
          return true;
        case 'Aborted':
          return journal.aborted !== undefined && !journal.told;
        case 'Resumed':
          if (!journal.told || qemu.presence !== 'present' || qemu.migration.startsWith('postcopy-')) return false;
          // A guest that stood still before has nothing to be continued.
          if (qemu.runState === 'postmigrate' && (hasMoved !== undefined || journal.issued?.resumeTarget)) return false;
          return published.verdict !== undefined && (targetWord === 'Gone' || targetWord === 'Refused');
        case 'Gone':
          return qemu.presence === 'gone' && !journal.told;
      }
    },
  );
});
