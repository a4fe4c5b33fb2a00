import type { VirtualMachineMigration } from '../../api/objects.ts';

/** Whether the stream is encrypted; it is unless the migration says otherwise. */
export function isEncrypted({ spec }: VirtualMachineMigration): boolean {
  return spec.transfer?.encryption !== 'None';
}
