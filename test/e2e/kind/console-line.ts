/** What the recorder of a node says of one read of one console. */
export interface ConsoleLine {
  /** Of one process: after a restart it counts from 0 again. */
  readonly run: string;
  readonly number: number;
  /** `namespace/name` */
  readonly vm: string;
  /** UID of the pod. */
  readonly side: string;
  readonly atMilliseconds: number;
  readonly text: string;
  /** When its process began, in the first line of each QEMU, which has no text. */
  readonly startedAtMilliseconds?: number;
}
