/** What is explored: a beginning, what may go wrong and what may be wanted, and how often. */
import type { Configuration, FaultKind } from './model.ts';

const crashes: readonly FaultKind[] = ['source agent crashes', 'target agent crashes', 'controller crashes'];
const machines: readonly FaultKind[] = ['source node dies', 'target node dies', 'source QEMU dies', 'target QEMU dies'];

/** Each within seconds: part of `npm test`. */
export const quickConfigurations: readonly Configuration[] = [
  { name: 'agents and controller crash, however often', freeFaults: crashes, mustSucceed: true },
  {
    name: '… with the stream encrypted, after an earlier migration that completed',
    freeFaults: crashes,
    mustSucceed: true,
    encrypted: true,
    earlier: 'completed',
  },
  { name: '… with a paused guest', freeFaults: crashes, mustSucceed: true, guest: 'paused' },
  { name: '… in post-copy', freeFaults: crashes, mustSucceed: true, postCopy: true },
  { name: 'any one fault, at any moment', faults: 1 },
  { name: 'any one wish, at any moment', wishes: 1 },
  { name: 'any two faults, from the handover on', from: 'the source complete', faults: 2 },
  {
    name: 'a guest that a migration had given back while it stood still',
    guest: 'returned',
    faults: 1,
    faultKinds: crashes,
  },
];

/** Together with the quick ones: `npm run model`. */
export const thoroughConfigurations: readonly Configuration[] = [
  { name: 'any two faults, at any moment', faults: 2 },
  { name: 'any two wishes, at any moment', wishes: 2 },
  { name: 'any fault and any wish, at any moment', faults: 1, wishes: 1 },
  {
    name: 'any fault, encrypted, an earlier migration had failed',
    encrypted: true,
    earlier: 'failed',
    faults: 1,
  },
  {
    name: 'a silent target, encrypted, two faults, a second attempt',
    from: 'transferring',
    encrypted: true,
    backoffLimit: 1,
    faults: 2,
    faultKinds: ['target silent', 'path unclear', ...crashes, 'connection silent', 'deadline'],
  },
  {
    name: 'any fault, a paused guest, an earlier migration had completed',
    guest: 'paused',
    earlier: 'completed',
    faults: 1,
  },
  {
    name: 'any two faults, from the switchover on, a paused guest',
    from: 'switching over',
    guest: 'paused',
    faults: 2,
  },
  { name: 'any fault, post-copy', postCopy: true, faults: 1 },
  {
    name: 'any fault and any wish, from the switchover to post-copy on',
    postCopy: true,
    from: 'switching over',
    faults: 1,
    wishes: 1,
  },
  {
    name: 'two machines or processes lost, from the switchover to post-copy on',
    postCopy: true,
    from: 'switching over',
    faults: 2,
    faultKinds: [...crashes, ...machines],
  },
  {
    name: 'three machines or processes lost, from the handover on',
    from: 'the source complete',
    faults: 3,
    faultKinds: [...crashes, ...machines],
  },
  { name: 'any fault, a second attempt on a third node', backoffLimit: 1, faults: 1 },
  {
    name: 'two machines lost or late, a second attempt on a third node',
    from: 'transferring',
    backoffLimit: 1,
    faults: 2,
    faultKinds: ['target node dies', 'target QEMU dies', 'source agent crashes', 'deadline'],
  },
];
