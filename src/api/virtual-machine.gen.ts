// Generated from deploy/crds/virtualmachines.yaml by `npm run generate`. Do not edit.

export interface VirtualMachineFields {
  spec: VirtualMachineSpec;
  status?: VirtualMachineStatus;
}
/**
 * What the VM should be. The hardware is frozen while the VM runs; a change to it takes effect at the next start.
 */
export interface VirtualMachineSpec {
  /**
   * Running: the guest runs. Paused: QEMU is there and the guest stands still. Stopped: the guest is powered down by ACPI, and ended after terminationGracePeriodSeconds.
   */
  powerState?: "Running" | "Paused" | "Stopped";
  /**
   * What follows when QEMU ends by itself. Always: start again. OnFailure: start again unless the guest powered itself off. Never: stay down.
   */
  restartPolicy?: "Always" | "OnFailure" | "Never";
  /**
   * What becomes of the VM when its pod is evicted, as `kubectl drain` does. LiveMigrate: the VM moves to another node and its guest runs on; the eviction is refused until it has. Stop: the guest is powered down, and restartPolicy says whether it starts again elsewhere.
   */
  evictionPolicy?: "LiveMigrate" | "Stop";
  /**
   * How long a guest may take to power itself down before QEMU is ended, in seconds.
   */
  terminationGracePeriodSeconds?: number;
  cpu?: {
    /**
     * Number of virtual CPUs.
     */
    cores?: number;
    /**
     * QEMU's name of the CPU model. Source and target must both provide it with all its features. The model `host` migrates only between nodes whose CPUs are equal.
     */
    model?: string;
  };
  /**
   * The guest's memory, a quantity of bytes such as 512Mi or 4Gi; a whole number of MiB.
   */
  memory: number | string;
  /**
   * QEMU's machine type. An alias (q35) is resolved to a versioned name at the first start and stays frozen in status.hardware, so that every later QEMU builds the same machine.
   */
  machineType?: string;
  /**
   * What the machine boots. The files must be the same on every node, and stay as they are while the VM runs.
   */
  firmware: {
    /**
     * Boot a Linux kernel directly.
     */
    kernel?: {
      /**
       * Where a file is.
       */
      image: {
        /**
         * Absolute path of a file on the node; a namespace under a Pod Security level (baseline, restricted) refuses it.
         */
        hostPath?: string;
        /**
         * A key of a ConfigMap in the VM's namespace; it holds at most 1 MiB.
         */
        configMap?: {
          name: string;
          key: string;
        };
        /**
         * A file in a volume of the VM's namespace, which every node must be able to read at once.
         */
        persistentVolumeClaim?: {
          claimName: string;
          /**
           * Of the file, from the volume's root.
           */
          path: string;
        };
      };
      /**
       * Where a file is.
       */
      initrd?: {
        /**
         * Absolute path of a file on the node; a namespace under a Pod Security level (baseline, restricted) refuses it.
         */
        hostPath?: string;
        /**
         * A key of a ConfigMap in the VM's namespace; it holds at most 1 MiB.
         */
        configMap?: {
          name: string;
          key: string;
        };
        /**
         * A file in a volume of the VM's namespace, which every node must be able to read at once.
         */
        persistentVolumeClaim?: {
          claimName: string;
          /**
           * Of the file, from the volume's root.
           */
          path: string;
        };
      };
      commandLine?: string;
    };
    /**
     * Boot a firmware image; without one, QEMU's SeaBIOS.
     */
    bios?: {
      /**
       * Where a file is.
       */
      image?: {
        /**
         * Absolute path of a file on the node; a namespace under a Pod Security level (baseline, restricted) refuses it.
         */
        hostPath?: string;
        /**
         * A key of a ConfigMap in the VM's namespace; it holds at most 1 MiB.
         */
        configMap?: {
          name: string;
          key: string;
        };
        /**
         * A file in a volume of the VM's namespace, which every node must be able to read at once.
         */
        persistentVolumeClaim?: {
          claimName: string;
          /**
           * Of the file, from the volume's root.
           */
          path: string;
        };
      };
    };
  };
  networks?: {
    name: string;
    /**
     * The interface's address; made from the VM's UID and the network's name when absent.
     */
    macAddress?: string;
    /**
     * Outbound connections through the pod's own network. Addresses seen from outside change when the VM moves, and open connections end.
     */
    podNetwork: {};
  }[];
  /**
   * What a node sets aside for the VM. Its memory, and what QEMU takes beyond it, always is.
   */
  resources?: {
    requests?: {
      /**
       * Processors, such as 2 or 100m; one for each of the VM's when absent.
       */
      cpu?: string;
    };
  };
  /**
   * Labels a node must carry to run this VM.
   */
  nodeSelector?: {
    [k: string]: string;
  };
}
/**
 * What the VM is. Written by the controller, except `guest`, which the agent of the VM's node writes.
 */
export interface VirtualMachineStatus {
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
   * For people. Pending, Starting, Running, Paused, Migrating, Stopping, Stopped or Failed; more may come.
   */
  phase?: string;
  /**
   * One sentence on what the VM waits for or why it is down.
   */
  message?: string;
  /**
   * Who may run the VM: exactly this pod. Moved by compare-and-swap only, with a growing generation; every start and every migration is one move. Without a pod name nobody may run it.
   */
  placement?: {
    nodeName?: string;
    podName?: string;
    podUID?: string;
    generation: number;
  };
  /**
   * The machine as it was built, frozen from start to stop; every pod of the VM is made from it.
   */
  hardware?: {
    /**
     * SHA-256 of the rest in canonical form; source and target of a migration must have the same.
     */
    hash: string;
    machineType: string;
    accelerator: "kvm" | "tcg";
    uuid: string;
    cpu: {
      model: string;
      cores: number;
    };
    /**
     * What QEMU is given, in bytes; under TCG 8 KiB more than spec.memory, because QEMU 7.2 loses pages of round sizes.
     */
    memoryBytes: number;
    firmware: {
      kernel?: {
        /**
         * Where a file is.
         */
        image: {
          /**
           * Absolute path of a file on the node; a namespace under a Pod Security level (baseline, restricted) refuses it.
           */
          hostPath?: string;
          /**
           * A key of a ConfigMap in the VM's namespace; it holds at most 1 MiB.
           */
          configMap?: {
            name: string;
            key: string;
          };
          /**
           * A file in a volume of the VM's namespace, which every node must be able to read at once.
           */
          persistentVolumeClaim?: {
            claimName: string;
            /**
             * Of the file, from the volume's root.
             */
            path: string;
          };
        };
        /**
         * Where a file is.
         */
        initrd?: {
          /**
           * Absolute path of a file on the node; a namespace under a Pod Security level (baseline, restricted) refuses it.
           */
          hostPath?: string;
          /**
           * A key of a ConfigMap in the VM's namespace; it holds at most 1 MiB.
           */
          configMap?: {
            name: string;
            key: string;
          };
          /**
           * A file in a volume of the VM's namespace, which every node must be able to read at once.
           */
          persistentVolumeClaim?: {
            claimName: string;
            /**
             * Of the file, from the volume's root.
             */
            path: string;
          };
        };
        commandLine: string;
      };
      bios?: {
        /**
         * Where a file is.
         */
        image?: {
          /**
           * Absolute path of a file on the node; a namespace under a Pod Security level (baseline, restricted) refuses it.
           */
          hostPath?: string;
          /**
           * A key of a ConfigMap in the VM's namespace; it holds at most 1 MiB.
           */
          configMap?: {
            name: string;
            key: string;
          };
          /**
           * A file in a volume of the VM's namespace, which every node must be able to read at once.
           */
          persistentVolumeClaim?: {
            claimName: string;
            /**
             * Of the file, from the volume's root.
             */
            path: string;
          };
        };
      };
    };
    networks: {
      name: string;
      macAddress: string;
      pciAddress: string;
    }[];
  };
  /**
   * The guest as the agent of its node sees it.
   */
  guest?: {
    podUID: string;
    /**
     * QEMU's own word, such as running, paused, io-error, guest-panicked or postmigrate; ended when its process is no more.
     */
    runState: string;
    running?: boolean;
    /**
     * Why QEMU would refuse to migrate this guest now.
     */
    blockers?: string[];
    /**
     * When the guest was first asked by ACPI to power down.
     */
    powerDownRequestedAt?: string;
    sequence: number;
  };
  /**
   * The lock; at most one migration works on a VM, and nothing else starts, stops or powers it meanwhile.
   */
  migration?: {
    name: string;
    uid: string;
  };
  lastMigration?: {
    name: string;
    result: string;
    from?: string;
    to?: string;
    downtimeMilliseconds?: number;
    finishedAt: string;
  };
  /**
   * How often in a row the VM's QEMU ended without being asked to; 0 again after it has run for ten minutes, absent when its owner stopped it last.
   */
  restarts?: number;
  /**
   * How the VM's last QEMU ended.
   */
  lastEnd?: {
    podName: string;
    reason: string;
    exitCode?: number;
    message?: string;
    at: string;
  };
}
