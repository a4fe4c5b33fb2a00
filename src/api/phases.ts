/** Phases are for people. No decision reads them but one: a terminal phase is never left. */

export type MigrationPhase =
  | 'Pending'
  | 'Scheduling'
  | 'Checking'
  | 'Preparing'
  | 'Transferring'
  | 'SwitchingOver'
  | 'Finalizing'
  | 'RollingBack'
  | 'NeedsAttention'
  | 'Succeeded'
  | 'Failed'
  | 'Cancelled';

/** Whether a migration in this phase has ended: what is left to do then is cleaning. */
export function isTerminal(phase: string | undefined): boolean {
  return phase === 'Succeeded' || phase === 'Failed' || phase === 'Cancelled';
}

export type VirtualMachinePhase =
  | 'Pending'
  | 'Starting'
  | 'Running'
  | 'Paused'
  | 'Migrating'
  | 'Stopping'
  | 'Stopped'
  | 'Failed';
