// Generated from deploy/crds/virtualmachinemigrations.yaml by `npm run generate`. Do not edit.

export interface VirtualMachineMigrationFields {
  spec: VirtualMachineMigrationSpec;
  status?: VirtualMachineMigrationStatus;
}
export interface VirtualMachineMigrationSpec {
  /**
   * The VirtualMachine to move, in the same namespace.
   */
  virtualMachineName: string;
  /**
   * Where to; absent, the scheduler chooses any other node that fits.
   */
  target?: {
    nodeName?: string;
    nodeSelector?: {
      [k: string]: string;
    };
  };
  /**
   * How the bytes move. Changes take effect at once, also in the middle of a transfer.
   */
  transfer?: {
    /**
     * The pause to aim at: QEMU stops the guest when what is left should fit into it. Seconds or milliseconds, such as 300ms.
     */
    maxDowntime?: string;
    /**
     * Bytes per second, such as 500Mi; absent, unlimited.
     */
    maxBandwidth?: number | string;
    /**
     * How long the transfer may take before it is given up, such as 30m.
     */
    timeout?: string;
    /**
     * Required: the stream is encrypted, and each side proves who it is, with certificates made for this attempt alone. None: anybody who reaches the migration network can read the guest's memory.
     */
    encryption?: "Required" | "None";
  };
  /**
   * How many more attempts follow one that failed for a reason of the target's node; each goes to another node, unless target.nodeName names one. Reasons of the VM itself end the migration at once.
   */
  backoffLimit?: number;
  /**
   * How long after its end the migration is removed, such as 24h; absent, it stays. It stays also as long as anything of it is left to be cleaned up.
   */
  ttlAfterFinished?: string;
  /**
   * Give the migration up; the VM stays where it is. Once true it stays true. Too late after the handover.
   */
  cancel?: boolean;
}
/**
 * Written by the controller, except `source` and `transfer` (the agent of the source node) and `target` (the agent of the target node).
 */
export interface VirtualMachineMigrationStatus {
  conditions?: {
    type: string;
    status: "True" | "False" | "Unknown";
    reason: string;
    message: string;
    lastTransitionTime: string;
    observedGeneration?: number;
  }[];
  observedGeneration?: number;
  /**
   * For people; decisions come from facts. Pending, Scheduling, Checking, Preparing, Transferring, SwitchingOver, Finalizing, RollingBack, Succeeded, Failed, Cancelled or NeedsAttention; more may come.
   */
  phase?: string;
  /**
   * One stable word, the same in conditions, events and logs.
   */
  reason?: string;
  /**
   * One or two sentences; they always say where the VM runs now.
   */
  message?: string;
  /**
   * The number of the attempt that is under way, or was the last.
   */
  attempt?: number;
  /**
   * The attempts that have failed, oldest first.
   */
  attempts?: {
    attempt: number;
    targetNode?: string;
    result: string;
    reason: string;
    message: string;
    finishedAt: string;
  }[];
  sourceNode?: string;
  targetNode?: string;
  sourcePod?: {
    name: string;
    uid?: string;
  };
  targetPod?: {
    name: string;
    uid?: string;
  };
  /**
   * What both agents do in this attempt; written once, after preflight has passed.
   */
  plan?: {
    attempt: number;
    /**
     * The version by which controller and agents work on this attempt; all of them speak it.
     */
    protocol?: number;
    endpoint: {
      host: string;
      port: number;
    };
  };
  /**
   * The controller's request to give the attempt up; the source's agent decides it.
   */
  abort?: {
    attempt: number;
    reason: string;
    message: string;
    /**
     * The source's QEMU is proven to have ended (its node reports it, or is fenced), and its agent has not said how; the target must not run.
     */
    sourceGone?: boolean;
  };
  /**
   * Who owns the VM after the move, copied from the VirtualMachine.
   */
  owner?: {
    podUID: string;
    generation: number;
  };
  /**
   * The guest's measured pause by the source agent's clock, such as 23ms.
   */
  downtime?: string;
  /**
   * The same as a number: from QEMU's STOP at the source to the target's answer that the guest runs; an upper bound.
   */
  downtimeMilliseconds?: number;
  /**
   * When each phase was entered, to the millisecond.
   */
  timeline?: {
    phase: string;
    at: string;
  }[];
  /**
   * The transfer as QEMU reports it. Progress never falls, and is 100 only when the VM has moved.
   */
  transfer?: {
    mode?: string;
    progress?: string;
    progressPercent?: number;
    totalBytes?: number;
    transferredBytes?: number;
    remainingBytes?: number;
    dirtyBytesPerSecond?: number;
    bytesPerSecond?: number;
    iteration?: number;
    expectedDowntimeMilliseconds?: number;
    estimatedSecondsLeft?: number;
  };
  /**
   * The source agent's side.
   */
  source?: {
    attempt: number;
    podUID: string;
    sequence: number;
    /**
     * The versions that this side's agent speaks, all from the oldest to the newest.
     */
    protocol?: {
      oldest: number;
      newest: number;
    };
    /**
     * What the agent read from its QEMU, for the checks that compare both sides.
     */
    preflight?: {
      qemuVersion: string;
      /**
       * The machine type this QEMU was started with, as it reports it.
       */
      machineType: string;
      /**
       * The machine types of this family that this QEMU knows.
       */
      machineTypes: string[];
      accelerator: string;
      cpuModel: string;
      /**
       * SHA-256 of the CPU features the guest sees, as QEMU expands them.
       */
      cpuFeatures: string;
      /**
       * Features of the CPU model that this node cannot provide.
       */
      missingCPUFeatures?: string[];
      memoryBytes: number;
      /**
       * SHA-256 of the machine as the running process' arguments describe it.
       */
      hardwareHash: string;
      runState: string;
      blockers: string[];
    };
    /**
     * Made for this attempt by this side's agent, in PEM. The other side trusts exactly these; the private keys never leave the node.
     */
    certificates?: {
      /**
       * QEMU's, for the migration stream.
       */
      stream: string;
      /**
       * The agent's, for the call that hands the guest over.
       */
      handover: string;
    };
    /**
     * When QEMU was told to migrate.
     */
    issuedAt?: string;
    /**
     * When QEMU began to send memory.
     */
    firstByteAt?: string;
    /**
     * Whether the guest ran when the transfer began; the target is continued only then.
     */
    resumeTarget?: boolean;
    /**
     * The source agent's final word on the attempt. Completed: the target owns the guest. Aborted: the guest is back as it was, and the target never ran. Resumed: completed, but the target ended without ever running, and the guest runs on at the source. Gone: the source's QEMU ended before it had completed.
     */
    verdict?: "Completed" | "Aborted" | "Resumed" | "Gone";
    /**
     * When the verdict was reached, by the source node's clock.
     */
    verdictAt?: string;
    reason?: string;
    message?: string;
    downtimeMilliseconds?: number;
    qemuDowntimeMilliseconds?: number;
  };
  /**
   * The target agent's side.
   */
  target?: {
    attempt: number;
    podUID: string;
    sequence: number;
    /**
     * The versions that this side's agent speaks, all from the oldest to the newest.
     */
    protocol?: {
      oldest: number;
      newest: number;
    };
    /**
     * What the agent read from its QEMU, for the checks that compare both sides.
     */
    preflight?: {
      qemuVersion: string;
      /**
       * The machine type this QEMU was started with, as it reports it.
       */
      machineType: string;
      /**
       * The machine types of this family that this QEMU knows.
       */
      machineTypes: string[];
      accelerator: string;
      cpuModel: string;
      /**
       * SHA-256 of the CPU features the guest sees, as QEMU expands them.
       */
      cpuFeatures: string;
      /**
       * Features of the CPU model that this node cannot provide.
       */
      missingCPUFeatures?: string[];
      memoryBytes: number;
      /**
       * SHA-256 of the machine as the running process' arguments describe it.
       */
      hardwareHash: string;
      runState: string;
      blockers: string[];
    };
    endpoint?: {
      host: string;
      port: number;
    };
    /**
     * Made for this attempt by this side's agent, in PEM. The other side trusts exactly these; the private keys never leave the node.
     */
    certificates?: {
      /**
       * QEMU's, for the migration stream.
       */
      stream: string;
      /**
       * The agent's, for the call that hands the guest over.
       */
      handover: string;
    };
    handover?: {
      host: string;
      port: number;
    };
    /**
     * The target agent's final word. TookOver: the guest runs here (or stands complete, if it was not to be resumed). Refused: it never ran here, and never will. Gone: QEMU ended without ever having run the guest. Lost: QEMU ended after it had been told to run the guest.
     */
    verdict?: "TookOver" | "Refused" | "Gone" | "Lost";
    reason?: string;
    message?: string;
  };
}
