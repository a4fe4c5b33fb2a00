import { describe, expect, test } from 'vitest';
import {
  at,
  ended,
  endpoint,
  type Given,
  kinds,
  type Status,
  said,
  since,
  step,
} from './controller-examples.testing.ts';
import { limits } from './limits.ts';

const fenced = { fenced: 'it is off' };

describe('a target that its node says has ended after the source had told', () => {
  const timeline = [{ phase: 'SwitchingOver', at: at(0) }];
  const given: Given = { status: { ...said('Completed'), phase: 'SwitchingOver', timeline }, target: ended };

  test('its agent may still say that the guest never ran', () => {
    expect(step({ ...given, now: limits.agentSpeaks - 1 })).toMatchObject({
      status: { phase: 'SwitchingOver' },
      effects: [],
    });
  });

  test('its agent never speaks: it is taken for lost, and the VM starts again from its disks', () => {
    expect(kinds({ ...given, now: limits.agentSpeaks })).toEqual(['moveOwnership']);
  });

  test('its agent was away, and has had no time to speak', () => {
    expect(kinds({ ...given, now: limits.agentSpeaks, heard: { target: limits.agentSpeaks - 1 } })).toEqual([]);
  });

  test('its node was fenced: nobody will speak', () => {
    expect(kinds({ ...given, target: { fenced: 'it is off' }, now: 1, heard: { target: 'never' } })).toEqual([
      'moveOwnership',
    ]);
  });

  test('nobody speaks for the source either, which may have been told directly that the guest never ran', () => {
    const fenced: Given = { ...given, target: { fenced: 'it is off' }, now: 60_000, heard: { source: 0, target: 0 } };
    expect(step(fenced)).toMatchObject({ status: { phase: 'NeedsAttention', reason: 'SourceSilent' }, effects: [] });
    // Of two that have ended none is moved to: the VM starts again from where it is placed.
    expect(kinds({ ...fenced, source: ended })).toEqual(['releasePod']);
  });

  test('the source was heard after that, but has been silent since: what it was told meanwhile nobody knows', () => {
    const waits: Status = { ...said('Completed'), phase: 'NeedsAttention' };
    const status = { ...waits, timeline: [{ phase: 'NeedsAttention', at: at(0) }] };
    const longAgo: Given = { status, target: fenced, now: 3_600_000, heard: { source: 60_000, target: 0 } };
    expect(step(longAgo)).toMatchObject({ status: { phase: 'NeedsAttention', reason: 'SourceSilent' }, effects: [] });
    expect(kinds({ ...longAgo, heard: { source: 3_590_000, target: 0 } })).toEqual(['moveOwnership']);
  });
});

describe('both have ended after the source had told', () => {
  const timeline = [{ phase: 'SwitchingOver', at: at(0) }];
  const status: Status = { ...said('Completed'), phase: 'SwitchingOver', timeline };
  const given: Given = { status, source: ended, target: ended };

  test('the target’s agent has the time to say whether it had run', () => {
    expect(step(given)).toMatchObject({ status: { phase: 'SwitchingOver' }, effects: [] });
    expect(step(given).status).not.toHaveProperty('abort');
  });

  test('it never speaks: none of the two is moved to, and the VM starts again from where it is placed', () => {
    const over = step({ ...given, now: limits.agentSpeaks });
    expect(over.effects.map(({ kind }) => kind)).toEqual(['releasePod']);
    expect(over.status).toMatchObject({
      phase: 'RollingBack',
      reason: 'TargetLostAfterHandover',
      abort: { reason: 'TargetLostAfterHandover', sourceGone: true },
    });
  });

  test('what it says after its pod has begun to be removed changes nothing', () => {
    const { status: settled } = step({ ...given, now: limits.agentSpeaks });
    for (const word of ['TookOver', 'Lost', 'Gone'] as const) {
      const late = said('Completed', word, settled as Status);
      expect(kinds({ ...given, status: late, now: limits.agentSpeaks })).toEqual(['releasePod']);
      const end = step({ ...given, status: late, target: 'none', now: limits.agentSpeaks });
      expect(end).toMatchObject({ status: { phase: 'Failed' }, effects: [] });
      expect(end.status).not.toHaveProperty('owner');
    }
  });

  test('the reason stays what it was when that began', () => {
    const { status: settled } = step({ ...given, now: limits.agentSpeaks });
    const end = step({ ...given, status: settled as Status, target: 'none', now: limits.agentSpeaks + 1 });
    expect(end.status).toMatchObject({ phase: 'Failed', reason: 'TargetLostAfterHandover' });
  });
});

describe('the source ended without a word, and its agent never speaks', () => {
  const timeline = [{ phase: 'RollingBack', at: at(0) }];
  const abort = { attempt: 1, reason: 'SourceLost', message: '', sourceGone: true };
  const status: Status = { ...said(undefined), phase: 'RollingBack', abort, plan: { attempt: 1, endpoint }, timeline };
  const given: Given = { status, source: fenced, target: ended };

  test('a target that has ended is not removed before its agent had the time to say whether it had run', () => {
    expect(step({ ...given, now: limits.agentSpeaks - 1 })).toMatchObject({
      status: { phase: 'RollingBack' },
      effects: [],
    });
    expect(kinds({ ...given, now: limits.agentSpeaks })).toEqual(['releasePod']);
    expect(kinds({ ...given, target: fenced, now: 1 })).toEqual(['releasePod']);
  });

  test.each([
    ['TookOver', 'moveOwnership'],
    ['Lost', 'moveOwnership'],
    ['Gone', 'releasePod'],
    ['Refused', 'releasePod'],
  ] as const)('it says %s in time: %s', (word, does) => {
    expect(kinds({ ...given, status: said(undefined, word, status) })).toEqual([does]);
  });

  test('it says so when the target has begun to be removed: the VM is down at the source for good', () => {
    const settled = since(0, said(undefined, 'TookOver', status), { type: 'TargetCleaned' });
    expect(kinds({ ...given, status: settled })).toEqual(['releasePod']);
  });

  test('its agent said Gone, and its node fell silent before it reported the end', () => {
    const gone: Status = { ...said('Gone', 'Refused'), phase: 'RollingBack', timeline };
    const silent: Given = { status: gone, source: {}, target: 'none', now: 3_600_000, heard: { source: 0 } };
    expect(step(silent).status).toMatchObject({ phase: 'NeedsAttention', reason: 'SourceSilent' });
    expect(step({ ...silent, heard: {} }).status?.phase).toBe('RollingBack');
    expect(step({ ...silent, source: fenced }).status).toMatchObject({ phase: 'Failed', reason: 'SourceLost' });
    // A target that is owed does not keep anybody from being asked, and goes when its node comes back.
    const owing: Given = { ...silent, status: since(0, gone, { type: 'TargetCleaned' }), target: ended };
    expect(step(owing)).toMatchObject({ status: { phase: 'NeedsAttention' }, effects: [{ kind: 'releasePod' }] });
  });

  test('an agent whose QEMU ends long after a cancel has its time to speak, too', () => {
    const cancelled = { attempt: 1, reason: 'Cancelled', message: '' };
    const cancelling: Given = { status: { ...status, abort: cancelled }, source: ended, target: {}, now: 3_600_000 };
    const seen = step(cancelling).status as Status;
    expect(seen.abort).toEqual(cancelled);
    const later: Given = { ...cancelling, status: seen, now: 3_600_000 + limits.agentSpeaks };
    expect(step({ ...later, now: 3_600_000 + limits.agentSpeaks - 1 }).status?.abort).toEqual(cancelled);
    const over = step(later).status;
    expect(over?.abort).toMatchObject({ reason: 'SourceLost', sourceGone: true });
    // The pod is the VM's own, and stays so.
    expect(over?.conditions?.map(({ type }) => type)).not.toContain('SourceCleaned');
  });

  test('fenced while it is silent: nobody is asked any more', () => {
    const sent: Status = { ...status, phase: 'Transferring', timeline: [{ phase: 'Transferring', at: at(0) }] };
    const { abort: _, ...sending } = sent;
    const after = step({ status: sending, source: fenced, target: {}, now: 60_000, heard: { source: 0 } });
    expect(after.status?.timeline?.map(({ phase }) => phase)).toEqual(['Transferring', 'RollingBack']);
  });
});

describe('post-copy', () => {
  const timeline = [{ phase: 'SwitchingOver', at: at(0) }];
  const spread = (status: Status): Status => ({
    ...status,
    phase: 'SwitchingOver',
    timeline,
    transfer: { mode: 'PostCopy' },
  });

  test('the source ended: the target is told, because what it still lacks is lost', () => {
    const given: Given = { status: spread(said('Completed')), source: ended, target: {} };
    expect(step(given)).toMatchObject({ status: { abort: { reason: 'PostCopyLost', sourceGone: true } }, effects: [] });
    expect(step({ ...given, source: {} }).status).not.toHaveProperty('abort');
    const preCopy: Given = { ...given, status: { ...spread(said('Completed')), transfer: { mode: 'PreCopy' } } };
    expect(step(preCopy).status).not.toHaveProperty('abort');
  });

  test.each<{ scenario: string; given: Given; does: string[] }>([
    { scenario: 'the target had run', given: { status: spread(said('Completed', 'Lost')) }, does: ['moveOwnership'] },
    { scenario: 'it had not', given: { status: spread(said('Completed', 'Refused')) }, does: ['releasePod'] },
    { scenario: 'it had ended before', given: { status: spread(said('Completed', 'Gone')) }, does: ['releasePod'] },
  ])('both ended, and $scenario: the VM is down', ({ given, does }) => {
    const over: Given = { source: ended, target: ended, ...given };
    expect(kinds(over)).toEqual(does);
    if (does[0] === 'releasePod') expect(step(over).status).toMatchObject({ reason: 'PostCopyLost' });
  });
});
