/**
 * What follows from what both sides have said for good: the one table that the controller goes by, and that
 * `docs/safety.md` shows to operators.
 */
import type { PodFacts } from './controller-facts.ts';
import { isGone } from './controller-facts.ts';
import type { SourceVerdict, TargetVerdict } from './evidence.ts';

/** `Ended`: its node, or whoever fenced that, proves that the QEMU has ended, and its agent has not said how. */
export type SourceStanding = 'Undecided' | 'Aborted' | 'Told' | 'ToldAndEnded' | 'Resumed' | 'Gone' | 'Ended';
export type TargetStanding = 'Undecided' | 'TookOver' | 'Refused' | 'Gone' | 'Lost' | 'Ended';

export type Outcome =
  /** Nothing is decided: the way forward, wishes and obstacles. */
  | 'Proceed'
  /** The guest is at the source for good: the target is removed. */
  | 'RollBack'
  /** The target owns the guest and has yet to continue it. */
  | 'AwaitTarget'
  /** The target owns the guest and has ended; its agent can still say whether it had run. */
  | 'AwaitTargetWord'
  /** The target has never run and never will: the source continues the guest. */
  | 'AwaitSource'
  /** The source has ended; its agent can still say whether it had handed the guest over. */
  | 'AwaitSourceWord'
  /** The guest is at the target: ownership moves, and the source is ended. */
  | 'Move'
  /** The newest memory was at the target, and is lost: the VM starts again from its disks. */
  | 'DownAtTarget'
  /** The newest memory was at the source, and is lost: the VM starts again from its disks. */
  | 'DownAtSource'
  /** Cannot be, by construction. Nothing is touched but the target, which its agent stops. */
  | 'Contradiction';

export const outcomes: Readonly<Record<SourceStanding, Readonly<Record<TargetStanding, Outcome>>>> = {
  Undecided: {
    Undecided: 'Proceed',
    // The direct call is faster than the API server: a target takes over only when it was told.
    TookOver: 'Move',
    Refused: 'Proceed',
    Gone: 'Proceed',
    Lost: 'DownAtTarget',
    Ended: 'Proceed',
  },
  Aborted: {
    Undecided: 'RollBack',
    TookOver: 'Contradiction',
    Refused: 'RollBack',
    Gone: 'RollBack',
    Lost: 'Contradiction',
    Ended: 'RollBack',
  },
  Told: {
    Undecided: 'AwaitTarget',
    TookOver: 'Move',
    Refused: 'AwaitSource',
    Gone: 'AwaitSource',
    Lost: 'DownAtTarget',
    Ended: 'AwaitTargetWord',
  },
  ToldAndEnded: {
    Undecided: 'AwaitTarget',
    TookOver: 'Move',
    Refused: 'DownAtSource',
    Gone: 'DownAtSource',
    Lost: 'DownAtTarget',
    Ended: 'AwaitTargetWord',
  },
  Resumed: {
    // The target's word was heard directly, and has yet to reach the object.
    Undecided: 'RollBack',
    TookOver: 'Contradiction',
    Refused: 'RollBack',
    Gone: 'RollBack',
    Lost: 'Contradiction',
    Ended: 'RollBack',
  },
  Gone: {
    Undecided: 'DownAtSource',
    TookOver: 'Contradiction',
    Refused: 'DownAtSource',
    Gone: 'DownAtSource',
    Lost: 'Contradiction',
    Ended: 'DownAtSource',
  },
  Ended: {
    Undecided: 'AwaitSourceWord',
    TookOver: 'Move',
    Refused: 'DownAtSource',
    Gone: 'DownAtSource',
    Lost: 'DownAtTarget',
    Ended: 'AwaitSourceWord',
  },
};

export function sourceStanding(verdict: SourceVerdict | undefined, pod: PodFacts): SourceStanding {
  const ended = isGone(pod);
  if (verdict === 'Completed') return ended ? 'ToldAndEnded' : 'Told';
  return verdict ?? (ended ? 'Ended' : 'Undecided');
}

export function targetStanding(verdict: TargetVerdict | undefined, pod: PodFacts): TargetStanding {
  const placed = !pod.exists || pod.nodeName !== undefined;
  return verdict ?? (isGone(pod) && placed ? 'Ended' : 'Undecided');
}
