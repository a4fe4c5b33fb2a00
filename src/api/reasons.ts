/**
 * Every reason a migration can carry: the same word in status, conditions, events and logs. The sentence says what it means;
 * `docs/troubleshooting.md` says what to do about each.
 */
export const migrationReasons = {
  // On the way.
  WaitingForVirtualMachine: 'The VM does not run yet.',
  WaitingForOtherMigration: 'Another migration works on the VM; this one starts when it has ended.',
  WaitingForCapacity: 'As many migrations are under way as may be at once; this one waits for its turn.',
  Scheduling: 'The scheduler looks for a node for the target pod.',
  Checking: 'Both nodes are checked: may this VM move there?',
  Preparing: 'The target QEMU gets ready to receive.',
  Transferring: 'Memory is being sent while the guest runs.',
  SwitchingOver: 'The source has sent everything and has handed the guest over.',
  RollingBack: 'The attempt is given up, and what it made is being removed.',
  Retrying: 'The last attempt failed for a reason of its target node; the next one goes to another node.',
  // It cannot be proven where the guest may run; nothing is touched until there is evidence.
  SourceSilent: 'Nobody speaks for the source any more, and nothing proves that its QEMU has ended.',
  TargetSilent: 'The guest was handed over, and nobody can say whether it has run on the target node.',
  Contradiction: 'Both sides say that they run the guest, which cannot be; the target was stopped.',
  Migrated: 'The VM runs on the target node.',
  // The source agent's answer to a completed transfer whose target never ran.
  TargetLost: 'The target QEMU ended before it had run the guest; the guest was continued at the source.',
  // Ended before anything was touched.
  VirtualMachineNotFound: 'There is no VirtualMachine of that name in this namespace.',
  VirtualMachineNotRunning: 'The VM is stopped; there is nothing to migrate.',
  VirtualMachineDeleted: 'The VM is being deleted.',
  VirtualMachineStopped: 'The VM was told to stop while it migrated.',
  AlreadyOnTargetNode: 'The VM already runs on the requested node.',
  // Given up, the guest runs on at the source.
  Cancelled: 'The migration was cancelled by its owner.',
  Unschedulable: 'The scheduler found no node for the target pod.',
  NotMigratable: 'The VM cannot be moved as it is now, whatever the target.',
  PreflightFailed: 'A check that compares the two nodes failed.',
  AgentTooOld: 'The agent of a node speaks no protocol that is still spoken by the controller or the other agent.',
  AgentTooNew: 'The agent of a node speaks only protocols that the controller does not know yet.',
  ControllerTooOld: 'The controller has approved a transfer by a protocol that the agent does not speak any more.',
  TargetFailed: 'The target QEMU ended before the transfer began.',
  TargetNotReady: 'The target did not get ready in time.',
  TransferFailed: 'QEMU reported that the transfer failed.',
  TransferStuckInSetup: 'QEMU did not begin to send within the time allowed.',
  TransferStalled: 'QEMU sent nothing any more.',
  TargetNotAnswering:
    'The target accepted the connection and then said nothing, which keeps the source QEMU from running its guest.',
  TransferTimedOut: 'The transfer took longer than spec.transfer.timeout.',
  HandoverPathLost: 'At the switchover the source could not have told the target to take over.',
  // The guest is down.
  SourceLost: "The source's QEMU ended while the VM was being migrated.",
  GuestPoweredOff: 'The guest powered itself off while it was being migrated.',
  PostCopyLost: 'One of the two QEMUs ended while memory was still spread over both.',
  TargetLostAfterHandover: 'The target QEMU ended after it had been told to run the guest.',
} as const;

export type MigrationReason = keyof typeof migrationReasons;

/** Reasons of the target's node or of the way there: another node may do. All others are of the VM, or somebody's wish. */
export const reasonsOfTheTarget: ReadonlySet<MigrationReason> = new Set([
  'PreflightFailed',
  'AgentTooOld',
  'AgentTooNew',
  'TargetFailed',
  'TargetNotReady',
  'TransferFailed',
  'TransferStuckInSetup',
  'TransferStalled',
  'TargetNotAnswering',
  'HandoverPathLost',
  'TargetLost',
]);
