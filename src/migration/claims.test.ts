import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Scarce } from './capacity.ts';
import { arrivesAt, claimToArrive, claimToLeave } from './claims.ts';
import {
  at,
  atSource,
  begun,
  checked,
  endpoint,
  facts,
  type Given,
  kinds,
  lock,
  placed,
  type Status,
  sending,
} from './controller-examples.testing.ts';

function leaves(given: Given) {
  const { migration, virtualMachine, sourcePod } = facts(given);
  const runs = sourcePod.exists && sourcePod.running;
  const { holds, of } = claimToLeave({ migration, virtualMachine, runs }) ?? {};
  return holds === undefined ? 'nothing' : `${holds ? 'holds' : 'wants'} ${of?.map(tell).join(', ') || 'nothing'}`;
}

function arrives(given: Given) {
  const { holds, of } = claimToArrive(facts(given).migration) ?? {};
  return holds === undefined ? 'nothing' : `${holds ? 'holds' : 'wants'} ${of?.map(tell).join(', ') || 'nothing'}`;
}

const tell = (scarce: Scarce) => (scarce.what === 'cluster' ? 'cluster' : `${scarce.what} ${scarce.node}`);
const attention = (reason: string): Status => ({ ...sending, phase: 'NeedsAttention', reason });
const ready: Status = { ...checked, target: { ...checked.target, endpoint } as NonNullable<Status['target']> };

describe('to leave', () => {
  test.each<[scenario: string, given: Given, claim: string]>([
    ['one that may begin', {}, 'wants cluster, outbound node-a'],
    [
      'one that has taken the lock',
      { vm: { status: { placement: atSource, migration: lock } } },
      'holds cluster, outbound node-a',
    ],
    ['one that has begun', { status: begun }, 'holds cluster, outbound node-a'],
    ['one that is sent', { status: sending }, 'holds cluster, outbound node-a'],
    ['one that has ended', { status: { ...sending, phase: 'Succeeded' } }, 'nothing'],
    [
      'one whose VM another one moves',
      { vm: { status: { placement: atSource, migration: { name: 'o', uid: 'o' } } } },
      'nothing',
    ],
    ['one that is cancelled while it waits', { spec: { cancel: true } }, 'nothing'],
    ['one that is deleted while it waits', { metadata: { deletionTimestamp: at(0) } }, 'nothing'],
    ['one without a source that can tell', { status: attention('SourceSilent') }, 'holds outbound node-a'],
    ['one that waits for its target', { status: attention('TargetSilent') }, 'holds nothing'],
  ])('%s', (_, given, claim) => {
    expect(leaves(given)).toBe(claim);
  });

  test('is wanted exactly where nothing but capacity keeps the lock from being taken', () => {
    const maybe = <T>(value: T) => fc.option(fc.constant(value), { nil: undefined });
    const any = fc.record({
      cancel: fc.boolean(),
      deletionTimestamp: maybe(at(0)),
      vm: fc.constantFrom<NonNullable<Given['vm']>>(
        'none',
        {},
        { deleting: true },
        { spec: { powerState: 'Stopped' } },
        { spec: { powerState: 'Paused' } },
        { status: {} },
        { status: { placement: { podName: 'web-1', generation: 1 } } },
        { status: { placement: atSource, migration: { name: 'o', uid: 'o' } } },
      ),
      running: fc.boolean(),
      nodeName: fc.constantFrom(undefined, 'node-a', 'node-b'),
    });
    fc.assert(
      fc.property(any, ({ cancel, deletionTimestamp, vm, running, nodeName }) => {
        const given: Given = {
          vm,
          source: { running },
          spec: { cancel, ...(nodeName === undefined ? {} : { target: { nodeName } }) },
          metadata: deletionTimestamp === undefined ? {} : { deletionTimestamp },
        };
        expect(leaves(given) === 'nothing').toBe(!kinds(given).includes('lockVirtualMachine'));
      }),
    );
  });
});

describe('to arrive', () => {
  test.each<[scenario: string, status: Status, claim: string]>([
    ['one that is not placed', begun, 'nothing'],
    ['one that is being checked', placed, 'nothing'],
    ['one whose target does not listen yet', checked, 'nothing'],
    ['one whose target listens', ready, 'wants inbound node-b'],
    ['one that is being given up', { ...ready, abort: { attempt: 1, reason: 'Cancelled', message: '' } }, 'nothing'],
    ['one that is sent', sending, 'holds inbound node-b'],
    [
      'one that is sent and to be given up',
      { ...sending, abort: { attempt: 1, reason: 'Cancelled', message: '' } },
      'holds inbound node-b',
    ],
    ['one that needs attention', attention('TargetSilent'), 'nothing'],
    ['one that has ended', { ...sending, phase: 'Failed' }, 'nothing'],
  ])('%s', (_, status, claim) => {
    expect(arrives({ status })).toBe(claim);
  });

  test('is on its way from when its target is placed until it has ended', () => {
    expect(arrivesAt(facts({ status: begun }).migration)).toBeUndefined();
    expect(arrivesAt(facts({ status: placed }).migration)).toBe('node-b');
    expect(arrivesAt(facts({ status: { ...placed, phase: 'Failed' } }).migration)).toBeUndefined();
  });
});
