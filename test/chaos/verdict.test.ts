import { describe, expect, test } from 'vitest';
import type { SerialChunk } from '../guest/heartbeat-recorder.ts';
import { type Scenario, scenario } from './scenario.ts';
import { type Evidence, judge } from './verdict.ts';

/** Heartbeats of one QEMU after what was heard so far, one each 10 ms. */
function beats(side: string, first: number, last: number): SerialChunk[] {
  return Array.from({ length: last - first + 1 }, (_, index) => {
    const count = first + index;
    const hex = count.toString(16).toUpperCase().padStart(8, '0');
    return { side, atMilliseconds: count * 10, text: `T${hex}\n` };
  });
}

const said = (side: string, text: string): SerialChunk => ({ side, atMilliseconds: 0, text });
const a = 'node-a/aaaaaaaa';
const b = 'node-b/bbbbbbbb';
const c = 'node-c/cccccccc';
const stayed = beats(a, 100, 160);
const moved = [...beats(a, 100, 120), ...beats(b, 121, 160)];

const freezeOfAgent: Scenario = {
  ...scenario(1, 1),
  background: { kind: 'success' },
  fault: { kind: 'freeze', who: 'sourceAgent', durationMilliseconds: 100 },
};

const succeeded: Evidence = {
  scenario: freezeOfAgent,
  migration: { phase: 'Succeeded', message: 'vm/web runs on node-b. It came from node-a.' },
  isCancelled: false,
  isDeleted: false,
  isObjectGone: false,
  killedQemus: [],
  output: moved,
  sourceSide: a,
  handoverMilliseconds: 3,
  owner: { side: b, node: 'node-b' },
  guestAnswers: true,
  leftovers: [],
};
const failed: Evidence = {
  ...succeeded,
  migration: { phase: 'Failed', message: 'vm/web runs on node-a.' },
  output: stayed,
  owner: { side: a, node: 'node-a' },
};
const restarted = { output: [...beats(a, 100, 130), ...beats(c, 1, 50)], owner: { side: c, node: 'node-c' } };
const killed = (role: 'source' | 'target', sourceHadCompleted = false) => ({ role, sourceHadCompleted });

const kinds = (evidence: Evidence) => [...new Set(judge(evidence).map(({ kind }) => kind))];

describe('nothing is said against', () => {
  const good: Record<string, Evidence> = {
    'a guest that moved': succeeded,
    'a guest that stayed': failed,
    'a line cut in two by the move': {
      ...succeeded,
      output: [...beats(a, 100, 120), said(a, 'T00'), said(b, '000079\n'), ...beats(b, 122, 160)],
    },
    'a guest that was started anew after its source was killed': {
      ...failed,
      ...restarted,
      killedQemus: [killed('source')],
    },
    'a guest that was started anew after the target that ran it was killed': {
      ...succeeded,
      output: [...moved, ...beats(c, 1, 50)],
      owner: { side: c, node: 'node-c' },
      killedQemus: [killed('target', true)],
    },
    'a handover that waited for a frozen agent': { ...succeeded, handoverMilliseconds: 1200 },
    'a cancellation that came too late': {
      ...succeeded,
      isCancelled: true,
      migration: { ...succeeded.migration, conditions: [{ type: 'CancelRejected', status: 'True' }] },
    },
    'a migration that was deleted and is gone': {
      ...failed,
      migration: undefined,
      isDeleted: true,
      isObjectGone: true,
    },
  };
  test.each(Object.entries(good))('%s', (_, evidence) => expect(judge(evidence)).toEqual([]));
});

describe('is told', () => {
  const bad: Record<string, [kinds: string, Evidence]> = {
    'the source ran on while the target ran': [
      'double run, lost guest',
      { ...succeeded, output: [...beats(a, 100, 125), ...beats(b, 121, 160)] },
    ],
    'an older copy was continued after a newer': [
      'double run, lost guest, untrue',
      { ...failed, output: [...beats(a, 100, 120), ...beats(b, 121, 130), ...beats(a, 121, 160)] },
    ],
    'a guest was started anew while the former one ran': [
      'double run',
      {
        ...failed,
        killedQemus: [killed('source')],
        output: [...beats(a, 100, 110), ...beats(c, 1, 20), ...beats(a, 111, 120)],
      },
    ],
    'a guest was started anew although only the target was killed, before it ran': [
      'lost guest',
      { ...failed, ...restarted, killedQemus: [killed('target')] },
    ],
    'a guest was started anew although the target had taken it over from the killed source': [
      'lost guest',
      {
        ...succeeded,
        output: [...moved, ...beats(c, 1, 50)],
        owner: { side: c, node: 'node-c' },
        killedQemus: [killed('source', true)],
      },
    ],
    'a heartbeat is missing': ['lost guest', { ...failed, output: [...beats(a, 100, 120), ...beats(a, 125, 160)] }],
    'the guest does not answer': ['lost guest', { ...failed, guestAnswers: false }],
    'the VM is nowhere': ['lost guest', { ...failed, owner: undefined, guestAnswers: false }],
    'the guest found bad memory': [
      'bad memory',
      { ...succeeded, output: [...moved, said(b, 'S00000002 00000001 00000000\n')] },
    ],
    'the migration hangs': ['not ended', { ...failed, migration: { phase: 'NeedsAttention', message: 'node-a' } }],
    'the deleted object stays': ['not ended', { ...failed, isDeleted: true }],
    'it says Succeeded, and the guest is where it was': ['untrue', { ...succeeded, ...{ output: stayed } }],
    'it says Failed, and the guest has moved': [
      'untrue',
      { ...succeeded, migration: { phase: 'Failed', message: 'vm/web runs on node-b.' } },
    ],
    'its message names another node': [
      'untrue',
      { ...failed, migration: { phase: 'Failed', message: 'vm/web runs on node-b.' } },
    ],
    'it was cancelled, succeeded, and says nothing of it': ['untrue', { ...succeeded, isCancelled: true }],
    'the guest waited for the API server': [
      'late handover',
      {
        ...succeeded,
        handoverMilliseconds: 1200,
        scenario: { ...freezeOfAgent, fault: { kind: 'freeze', who: 'etcd', durationMilliseconds: 1200 } },
      },
    ],
    'an agent was killed, and the migration failed': [
      'not moved',
      {
        ...failed,
        scenario: {
          ...freezeOfAgent,
          fault: { kind: 'kill', who: 'agentsAndController', durationMilliseconds: 100 },
        },
      },
    ],
    'a QEMU is left': ['leftover', { ...succeeded, leftovers: ['2 QEMUs'] }],
  };
  test.each(Object.entries(bad))('%s', (_, [told, evidence]) => expect(kinds(evidence).join(', ')).toBe(told));
});
