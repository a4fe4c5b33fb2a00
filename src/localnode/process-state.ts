/** What localnode knows of a pod's process. */
export type ProcessState =
  | { readonly state: 'absent' }
  | { readonly state: 'running'; readonly startedAt: Date }
  | EndedProcess;

export interface EndedProcess {
  readonly state: 'ended';
  readonly exitCode: number;
  readonly reason: EndReason;
  readonly message?: string;
  readonly startedAt?: Date;
  readonly finishedAt: Date;
}

/** `Completed` and `Error` are the kubelet's words, and so is `ContainerStatusUnknown`, which proves nothing. */
type EndReason = 'Completed' | 'Error' | 'NodeRebooted' | 'NeverStarted' | 'ContainerStatusUnknown';

/** An exit code beyond all others, for ends that left none. */
export const unknownExitCode = 255;
