/** Every wait of a migration and its bound, in milliseconds. */
export const limits = {
  /** A target pod that the scheduler calls unschedulable; time for a node to come back or to be added. */
  unschedulable: 10_000,
  /** A target pod that no scheduler says anything of. */
  unscheduled: 60_000,
  /** The API server refuses the target pod, by a quota or a policy perhaps. */
  targetCreated: 30_000,
  /** From the placed target pod to a target that listens: pulling an image and starting a container. */
  targetReady: 120_000,
  /** From the plan to `migrate`, when the agents do not reach each other. */
  pathOpened: 30_000,
  /** QEMU's `setup`: connecting, not sending. */
  setup: 10_000,
  /** QEMU sends nothing. */
  stall: 30_000,
  /** The same while the guest stands still, and the target loads its devices. */
  deviceStall: 10_000,
  /** How long QEMU's main loop may be silent before it is taken to hang. */
  inBandAnswer: 1_000,
  /** How old the last answer of target agent or API server may be when the source commits itself to the switchover. */
  handoverPath: 2_000,
  /** Between two tries to tell the target directly. */
  handoverRepeated: 100,
  /** A switchover that takes no longer than this is not worth a write while the guest stands still. */
  switchoverShown: 50,
  /** How long an agent that is there may take to say how its QEMU ended, after the node has told that it did. */
  agentSpeaks: 30_000,
  /** An agent that was not heard of for so long is silent; it renews its lease every 10 s. */
  agentSilent: 30_000,
  /** How long the measured pause may be on its way before the VM is given back without it. */
  downtimeTold: 1_000,
  /** How long an agent may take to end a QEMU that lost before the controller deletes its pod. */
  agentEndsQemu: 5_000,
  /** How long the end of a losing QEMU is waited for before the VM is given back with it as a debt. */
  debt: 15_000,
  /** Before the second attempt; each later one waits twice as long as the one before. */
  retry: 1_000,
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
