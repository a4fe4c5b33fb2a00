/** Every wait of a migration and its bound, in milliseconds. */
export const limits = {
  /** A target pod that the scheduler calls unschedulable; time for a node to come back or to be added. */
  unschedulable: 10_000,
  /** The API server refuses the target pod, by a quota or a policy perhaps. */
  targetCreated: 30_000,
  /** From the placed target pod to a target that listens: pulling an image and starting a container. */
  targetReady: 120_000,
  /** QEMU's `setup`: connecting, not sending. */
  setup: 10_000,
  /** How old the last answer of the API server may be when the source commits itself to the switchover. */
  handoverPath: 2_000,
  /** A switchover that takes no longer than this is not worth a write while the guest stands still. */
  switchoverShown: 50,
  /** How long the source's agent may take to say how its QEMU ended, after the node has told that it did: a DaemonSet pod starts again in less. */
  agentSpeaks: 30_000,
  /** How long the measured pause may be on its way before the VM is given back without it. */
  downtimeTold: 1_000,
  /** How long an agent may take to end a QEMU that lost before the controller deletes its pod. */
  agentEndsQemu: 5_000,
} as const;

const unitMilliseconds: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/**
 * Milliseconds of a duration as the CRDs admit it: one number and one of ms, s, m, h.
 * @throws Error when it is not of that form; the API server refuses such an object before anybody reads it.
 */
export function durationMilliseconds(duration: string): number {
  const [, amount, unit] = /^(\d+)(ms|s|m|h)$/.exec(duration) ?? [];
  const factor = unitMilliseconds[unit ?? ''];
  if (amount === undefined || factor === undefined)
    throw new Error(`"${duration}" is not a duration such as 300ms, 2s or 30m`);
  return Number(amount) * factor;
}
