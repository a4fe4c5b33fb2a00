/** The lock that a migration holds on a VM: one place that says how a locked VM looks, so that taking it is one write. */
import type { VirtualMachineStatus } from '../api/virtual-machine.gen.ts';

type Lock = NonNullable<VirtualMachineStatus['migration']>;

export function lockedBy(status: VirtualMachineStatus, lock: Lock): VirtualMachineStatus {
  return { ...status, migration: lock, phase: 'Migrating', message: `vmm/${lock.name} works on this VM.` };
}
