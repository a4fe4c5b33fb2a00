/** What the steps of an attempt at its source work with. */
import type { VirtualMachineMigration } from '../../api/objects.ts';
import type { AgentContext } from '../context.ts';
import type { QemuReading } from './read-qemu.ts';
import type { SourceAttempt } from './source-attempt.ts';

/** One migration whose source pod is on this node. */
export interface SourceScope {
  readonly context: AgentContext;
  readonly migration: VirtualMachineMigration;
  readonly work: SourceAttempt;
}

/** The scope of one step: what was read for it is at hand for its effects. */
export interface SourceStepScope extends SourceScope {
  readonly reading: QemuReading;
  readonly issued: Issued | undefined;
}

/** What is remembered of the guest when `migrate` is issued. */
export interface Issued {
  /** Milliseconds since the epoch. */
  at: number;
  resumeTarget: boolean;
}

/** What is remembered when the target is told: the start of the guest's pause, milliseconds since the epoch. */
export interface Told {
  stoppedAt?: number;
}
