/** Names that vmferry puts on Kubernetes objects. They are part of the API: running VMs carry them for months. */

export const group = 'vmferry.io';

export const labels = {
  /** On every VM pod: the name of its VirtualMachine. */
  virtualMachine: 'vmferry.io/virtual-machine',
  /** On a pod that a migration created: UID of the migration, number of the attempt. */
  migration: 'vmferry.io/migration',
  attempt: 'vmferry.io/attempt',
  /** Its name, by which its node asks what has become of it. */
  migrationName: 'vmferry.io/migration-name',
  /** On every VM pod: how it came to be, `start` or `target`. */
  role: 'vmferry.io/role',
  /** On a migration that an eviction has made: UID of the pod that was to be evicted. */
  evictedPod: 'vmferry.io/evicted-pod',
} as const;

export const annotations = {
  /** On a VM pod: SHA-256 of the hardware definition it was made from. */
  hardwareHash: 'vmferry.io/hardware-hash',
  /** On a VirtualMachine, by an operator: UID of the pod whose QEMU is certain to have ended, because its node was fenced. */
  fenced: 'vmferry.io/fenced',
} as const;

export const finalizers = {
  /** On every VM pod: removed by the controller only after its QEMU is proven gone. */
  guest: 'vmferry.io/guest',
  /** On a VirtualMachine: its guest is powered down before the object goes. */
  virtualMachine: 'vmferry.io/virtual-machine',
  /** On a VirtualMachineMigration: it is ended in order before the object goes. */
  migration: 'vmferry.io/migration',
} as const;

/** The taint by which an operator says that a node is shut down: nothing on it runs any more. */
export const outOfServiceTaint = 'node.kubernetes.io/out-of-service';

/** The namespace of the controller's lease and of the agents' leases, unless told otherwise. */
export const systemNamespace = 'vmferry-system';

/** What makes the API server ask about evictions, and the webhook's name in it; the Service by which it asks. */
export const webhookConfiguration = 'vmferry-eviction';
export const evictionWebhook = 'eviction.vmferry.io';
export const webhookService = 'vmferry-webhook';

/** `status.guest.runState` when QEMU has ended: the one word there that is not QEMU's own. */
export const qemuEnded = 'ended';

/** The pod condition that says that the guest runs in this pod: a readiness gate of every VM pod. */
export const guestRunningCondition = 'vmferry.io/guest-running';
