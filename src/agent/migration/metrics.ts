/** What an agent tells Prometheus of the transfers that leave its node. They are few, and gone when they have ended: their names may be labels. */
import { Gauge, type Registry } from 'prom-client';
import type { VirtualMachineMigration } from '../../api/objects.ts';
import { isTerminal } from '../../api/phases.ts';

type Transfer = NonNullable<NonNullable<VirtualMachineMigration['status']>['transfer']>;

export function showTransfers(registry: Registry, list: () => readonly VirtualMachineMigration[]): void {
  const gauge = (name: string, help: string, read: (transfer: Transfer) => number | undefined) =>
    new Gauge({
      name,
      help,
      labelNames: ['namespace', 'name'] as const,
      registers: [registry],
      collect() {
        this.reset();
        for (const { metadata, status } of list()) {
          const bytes = status?.transfer && read(status.transfer);
          if (bytes === undefined || isTerminal(status?.phase)) continue;
          this.set({ namespace: metadata.namespace, name: metadata.name }, bytes);
        }
      },
    });
  gauge(
    'vmferry_migration_transferred_bytes',
    'What a migration under way has sent so far.',
    ({ transferredBytes }) => transferredBytes,
  );
  gauge(
    'vmferry_migration_remaining_bytes',
    'What a migration under way has yet to send; the guest may make it grow.',
    ({ remainingBytes }) => remainingBytes,
  );
}
