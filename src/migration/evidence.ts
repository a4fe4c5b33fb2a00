/**
 * The facts about the other side that anything irreversible may depend on. They are final words: each is published once by the
 * agent of its side and never taken back. Everything else an agent may say (running, listening, unreachable, not found) can
 * have changed by the time it is read, and decides nothing.
 */
import type { VirtualMachineMigrationStatus } from '../api/virtual-machine-migration.gen.ts';

type SourceSide = NonNullable<VirtualMachineMigrationStatus['source']>;
type TargetSide = NonNullable<VirtualMachineMigrationStatus['target']>;

export type SourceVerdict = NonNullable<SourceSide['verdict']>;
export type TargetVerdict = NonNullable<TargetSide['verdict']>;

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
