/**
 * What `q35` means for a new VM. Both QEMUs of a migration must know the VM's versioned machine type; this is the newest one that
 * every supported QEMU knows (7.2 knows up to 7.2; 11.1 knows 5.2 to 11.1). It moves when the oldest supported QEMU does.
 */
const newestCommonMachineType = 'pc-q35-7.2';

/**
 * The versioned machine type a VM starts with. The alias keeps the type that the VM had before, because guests bind drivers and
 * licences to it; an owner who names a version gets that one.
 */
export function resolveMachineType(requested: string | undefined, frozen: string | undefined): string {
  if (requested === undefined || requested === 'q35') return frozen ?? newestCommonMachineType;
  return requested;
}
