/** What is asked of, and told by, the program of `bare-mover.ts`: a JSON object a line. */

/** In every QEMU's pod: what QEMU looks for in folders of certificates, one for each end of a stream. */
export const keysFolder = '/vmferry/keys';
/** In both certificates; made up. */
export const serverName = 'bare.vmferry.invalid';
/** Where QEMU's monitor is reached from outside its pod. */
export const monitorPort = 4444;

export interface BareMove {
  /** Addresses of the two pods; the target's may still be starting. */
  readonly source: string;
  readonly target: string;
}

/** Milliseconds. */
export interface BareMoved {
  /** From when the target answered until it was told to run. */
  readonly took: number;
  /** Between STOP and RESUME, by the clock of who drives it. */
  readonly downtime: number;
  readonly qemuDowntime?: number;
}
