/** Names that vmferry puts on Kubernetes objects. They are part of the API: running VMs carry them for months. */

export const group = 'vmferry.io';

export const labels = {
  /** On every VM pod: the name of its VirtualMachine. */
  virtualMachine: 'vmferry.io/virtual-machine',
  /** On a pod that a migration created: UID of the migration, number of the attempt. */
  migration: 'vmferry.io/migration',
  attempt: 'vmferry.io/attempt',
  /** On every VM pod: how it came to be, `start` or `target`. */
  role: 'vmferry.io/role',
} as const;

export const annotations = {
  /** On a VM pod: SHA-256 of the hardware definition it was made from. */
  hardwareHash: 'vmferry.io/hardware-hash',
} as const;

export const finalizers = {
  /** On every VM pod: removed by the controller only after its QEMU is proven gone. */
  guest: 'vmferry.io/guest',
  /** On a VirtualMachine: its guest is powered down before the object goes. */
  virtualMachine: 'vmferry.io/virtual-machine',
  /** On a VirtualMachineMigration: it is ended in order before the object goes. */
  migration: 'vmferry.io/migration',
} as const;

/** The pod condition that says that the guest runs in this pod: a readiness gate of every VM pod. */
export const guestRunningCondition = 'vmferry.io/guest-running';
