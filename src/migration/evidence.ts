/**
 * The facts about the other side that anything irreversible may depend on. They are final words: each is said once and never taken
 * back. Everything else that one can learn of another node (running, listening, unreachable, not found) can have changed by
 * the time it is read, and decides nothing.
 *
 * The type keeps it so: an effect that cannot be undone carries the final word it rests on, and only this file makes one.
 */
import type { VirtualMachineMigrationStatus } from '../api/virtual-machine-migration.gen.ts';

type SourceSide = NonNullable<VirtualMachineMigrationStatus['source']>;
type TargetSide = NonNullable<VirtualMachineMigrationStatus['target']>;

export type SourceVerdict = NonNullable<SourceSide['verdict']>;
export type TargetVerdict = NonNullable<TargetSide['verdict']>;

declare const saidForGood: unique symbol;

/** A word that nobody can take back. */
export type FinalWord<Word extends string> = Word & { readonly [saidForGood]: true };

/** The VM's placement names the target pod. */
export type OwnershipMoved = FinalWord<'OwnershipMoved'>;
/** The source's QEMU is proven to have ended, by its node or by whoever fenced that. */
export type SourceGone = FinalWord<'SourceGone'>;

/** The source agent's side, if it speaks of the current attempt and of the pod that the attempt is about. */
export function sourceSide(status: VirtualMachineMigrationStatus): SourceSide | undefined {
  const { source } = status;
  return source !== undefined && source.attempt === status.attempt && source.podUID === status.sourcePod?.uid
    ? source
    : undefined;
}

/** The target agent's side, under the same conditions. */
export function targetSide(status: VirtualMachineMigrationStatus): TargetSide | undefined {
  const { target } = status;
  return target !== undefined && target.attempt === status.attempt && target.podUID === status.targetPod?.uid
    ? target
    : undefined;
}

/** What the source's agent has said for good of the current attempt. */
export function sourceWord(status: VirtualMachineMigrationStatus): FinalWord<SourceVerdict> | undefined {
  return sourceSide(status)?.verdict as FinalWord<SourceVerdict> | undefined;
}

/** What the target's agent has said for good of the current attempt. */
export function targetWord(status: VirtualMachineMigrationStatus): FinalWord<TargetVerdict> | undefined {
  return targetSide(status)?.verdict as FinalWord<TargetVerdict> | undefined;
}

/** A verdict that the other agent has told directly, over a connection on which it has proven to be the other side of this attempt. */
export function heardDirectly<Verdict extends SourceVerdict | TargetVerdict>(verdict: Verdict): FinalWord<Verdict> {
  return verdict as FinalWord<Verdict>;
}

export function ownershipMoved(status: VirtualMachineMigrationStatus): OwnershipMoved | undefined {
  const { owner, targetPod } = status;
  return owner !== undefined && owner.podUID === targetPod?.uid ? ('OwnershipMoved' as OwnershipMoved) : undefined;
}

export function sourceGone({ abort, attempt }: VirtualMachineMigrationStatus): SourceGone | undefined {
  return abort?.attempt === attempt && abort?.sourceGone === true ? ('SourceGone' as SourceGone) : undefined;
}
