/** The events people read in `kubectl describe`: derived from what a saved status says that the one before did not. */
import type { VirtualMachineMigration } from '../../api/objects.ts';

type Status = VirtualMachineMigration['status'];

export interface MigrationEvent {
  type: 'Normal' | 'Warning';
  reason: string;
  note: string;
  /** Also told on the VirtualMachine, whose owner may never look at the migration. */
  onVirtualMachine?: boolean;
}

interface Story {
  happened: (status: NonNullable<Status>) => boolean;
  event: (status: NonNullable<Status>, migration: VirtualMachineMigration) => MigrationEvent;
}

const stories: Story[] = [
  {
    happened: ({ sourcePod }) => sourcePod !== undefined,
    event: ({ sourceNode }, { spec }) => ({
      type: 'Normal',
      reason: 'Started',
      note: `vm/${spec.virtualMachineName} is to leave ${sourceNode}`,
    }),
  },
  {
    happened: ({ plan }) => plan !== undefined,
    event: ({ targetNode, plan }) => ({
      type: 'Normal',
      reason: 'TargetReady',
      note: `Preflight passed; QEMU on ${targetNode} listens at ${plan?.endpoint.host}:${plan?.endpoint.port} and memory is being sent`,
    }),
  },
  {
    happened: ({ abort }) => abort !== undefined,
    event: ({ abort }) => ({
      type: 'Warning',
      reason: abort?.reason ?? '',
      note: `Giving the migration up: ${abort?.message}`,
    }),
  },
  {
    happened: ({ phase }) => phase === 'NeedsAttention',
    event: ({ reason = '', message = '' }) => ({ type: 'Warning', reason, note: message, onVirtualMachine: true }),
  },
  {
    happened: ({ conditions }) => isTrue(conditions, 'CancelRejected'),
    event: () => ({
      type: 'Warning',
      reason: 'CancelRejected',
      note: 'Too late to cancel: the guest has been handed over',
    }),
  },
  {
    // The pause is known a moment after the move, or never: one event tells both.
    happened: ({ phase, downtime, conditions }) =>
      phase === 'Succeeded' && (downtime !== undefined || isTrue(conditions, 'SourceCleaned')),
    event: ({ sourceNode, targetNode, downtime }, { spec }) => ({
      type: 'Normal',
      reason: 'Migrated',
      note: `vm/${spec.virtualMachineName} moved from ${sourceNode} to ${targetNode}${downtime === undefined ? '' : `; the guest stood still for ${downtime}`}`,
      onVirtualMachine: true,
    }),
  },
  {
    happened: ({ phase }) => phase === 'Failed',
    event: ({ reason = '', message = '' }) => ({ type: 'Warning', reason, note: message, onVirtualMachine: true }),
  },
  {
    happened: ({ phase }) => phase === 'Cancelled',
    event: ({ message = '' }) => ({ type: 'Normal', reason: 'Cancelled', note: message }),
  },
  {
    happened: ({ conditions }) => isTrue(conditions, 'SourceCleaned'),
    event: ({ sourceNode }) => ({
      type: 'Normal',
      reason: 'SourceCleaned',
      note: `The source pod on ${sourceNode} is gone`,
    }),
  },
];

function isTrue(conditions: NonNullable<Status>['conditions'], type: string): boolean {
  return conditions?.some((condition) => condition.type === type && condition.status === 'True') ?? false;
}

/** @returns events for everything that `after` says and `before` does not. */
export function eventsFor(before: Status, migration: VirtualMachineMigration): MigrationEvent[] {
  const after = migration.status ?? {};
  const news = stories
    .filter(({ happened }) => happened(after) && !happened(before ?? {}))
    .map(({ event }) => event(after, migration));
  return [...failedAttempts(before, after), ...news];
}

function failedAttempts(before: Status, after: NonNullable<Status>): MigrationEvent[] {
  return (after.attempts ?? []).slice(before?.attempts?.length ?? 0).map(({ attempt, targetNode, reason, message }) => {
    const to = targetNode === undefined ? '' : ` to ${targetNode}`;
    return { type: 'Warning', reason, note: `Attempt ${attempt}${to} failed, another follows: ${message}` };
  });
}
