/**
 * What to do next with the guest of a VM that no migration works on. Pure: facts in, effects and a report out; called again after
 * the effects, and at every change.
 */
import { qemuEnded } from '../../api/labels.ts';
import type { VirtualMachineStatus } from '../../api/virtual-machine.gen.ts';

export type GuestReport = NonNullable<VirtualMachineStatus['guest']>;

/** What the VM's owner wants: `End` for Stopped as well as for a VM or a pod that is being deleted. */
export type Wish = 'Run' | 'Pause' | 'End';

export type QemuFacts =
  /** `notYet`: not started. `unknown`: it runs, and does not answer. `gone`: it ran, and has ended. */
  | { readonly presence: 'notYet' | 'unknown' | 'gone' }
  | {
      readonly presence: 'present';
      readonly runState: string;
      readonly running: boolean;
      readonly blockers: readonly string[];
    };

/** The way down, as noted in the state directory. Milliseconds since the epoch. */
export interface PowerDown {
  readonly requestedAt: number;
  /** The last press on the power button. */
  readonly pressedAt?: number;
  readonly quitAt?: number;
}

export interface GuestFacts {
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly podUID: string;
  readonly wish: Wish;
  readonly gracePeriodMilliseconds: number;
  readonly qemu: QemuFacts;
  /** The guest stands still because its owner wanted it to: it may be continued when he wants it to run. */
  readonly held: boolean;
  readonly powerDown?: PowerDown;
  /** What the VM's status says of its guest, of this pod or of an earlier one. */
  readonly published?: GuestReport;
}

/** In the order in which they are carried out. Each is harmless when it comes twice. */
export type GuestEffect =
  | { readonly kind: 'hold' | 'release' | 'stop' | 'continue' | 'pressPowerButton' | 'quit' | 'kill' }
  | { readonly kind: 'notePowerDown'; readonly powerDown: PowerDown | undefined };

export interface GuestStep {
  readonly effects: readonly GuestEffect[];
  /** To be written to the VM's status; absent when it would say nothing new. */
  readonly report?: GuestReport;
  /** Milliseconds after which to look again, if nothing happens before; absent when only a change can matter. */
  readonly lookAgainAfter?: number;
}

/** In this order: without the note, an agent that died in between would leave the guest standing. */
const continueHeld = [{ kind: 'continue' }, { kind: 'release' }] as const;

type Plan = Omit<GuestStep, 'report'>;

/** How long to wait before, in milliseconds. */
export const waits = {
  /** QEMU's own start; there is no event for it. */
  start: 100,
  /** One that does not answer is asked again. */
  answer: 200,
  /** Migration blockers come and go without an event. */
  blockers: 60_000,
  /** A guest that has not booted far enough misses the button. */
  press: 5_000,
  /** From `quit` to SIGKILL. */
  quit: 5_000,
} as const;

/** Stopped by its owner or by a fault outside, and fit to go on. Not a crashed guest, nor one that is being moved. */
const continuable = new Set(['paused', 'io-error', 'watchdog']);

/** Nobody is there to hear the power button: never started, already off, or crashed. */
const deaf = new Set(['prelaunch', 'shutdown', 'guest-panicked', 'internal-error']);

const plans: Record<Wish, (facts: GuestFacts) => Plan> = { Run: run, Pause: pause, End: end };

export function guestStep(facts: GuestFacts): GuestStep {
  const plan = plans[facts.wish](facts);
  // What is about to change is not worth a write.
  const report = plan.effects.length === 0 ? newReport(facts) : undefined;
  return { ...plan, ...(report === undefined ? {} : { report }) };
}

function run(facts: GuestFacts): Plan {
  if (facts.qemu.presence !== 'present') return { effects: [], ...waitFor(facts.qemu.presence) };
  if (facts.powerDown !== undefined) return { effects: [{ kind: 'notePowerDown', powerDown: undefined }] };
  const { runState, running } = facts.qemu;
  if (runState === 'prelaunch') return { effects: [{ kind: 'continue' }] };
  if (facts.held && continuable.has(runState)) return { effects: continueHeld };
  // An agent died between the two.
  if (facts.held && running) return { effects: [{ kind: 'release' }] };
  return { effects: [], lookAgainAfter: waits.blockers };
}

function pause(facts: GuestFacts): Plan {
  if (facts.qemu.presence !== 'present') return { effects: [], ...waitFor(facts.qemu.presence) };
  if (facts.powerDown !== undefined) return { effects: [{ kind: 'notePowerDown', powerDown: undefined }] };
  // Noted first: else an agent that died in between would not know that it was us.
  if (!facts.held) return { effects: [{ kind: 'hold' }] };
  if (facts.qemu.running) return { effects: [{ kind: 'stop' }] };
  return { effects: [], lookAgainAfter: waits.blockers };
}

function end(facts: GuestFacts): Plan {
  const { now, qemu, powerDown } = facts;
  if (qemu.presence === 'notYet' || qemu.presence === 'gone') return { effects: [], ...waitFor(qemu.presence) };
  if (powerDown === undefined) return { effects: [{ kind: 'notePowerDown', powerDown: { requestedAt: now } }] };
  if (powerDown.quitAt !== undefined) {
    const left = powerDown.quitAt + waits.quit - now;
    return left > 0 ? { effects: [], lookAgainAfter: left } : { effects: [{ kind: 'kill' }] };
  }
  const hears = qemu.presence === 'present' && !deaf.has(qemu.runState);
  const left = powerDown.requestedAt + facts.gracePeriodMilliseconds - now;
  if (left <= 0 || (qemu.presence === 'present' && !hears)) {
    return { effects: [{ kind: 'notePowerDown', powerDown: { ...powerDown, quitAt: now } }, { kind: 'quit' }] };
  }
  if (!hears) return { effects: [], lookAgainAfter: Math.min(left, waits.answer) };
  // A guest that stands still cannot power itself down.
  if (facts.held && continuable.has(qemu.runState)) return { effects: continueHeld };
  const untilPress = (powerDown.pressedAt ?? Number.NEGATIVE_INFINITY) + waits.press - now;
  if (untilPress > 0) return { effects: [], lookAgainAfter: Math.min(untilPress, left) };
  return {
    effects: [{ kind: 'notePowerDown', powerDown: { ...powerDown, pressedAt: now } }, { kind: 'pressPowerButton' }],
  };
}

function waitFor(presence: 'notYet' | 'unknown' | 'gone'): { lookAgainAfter?: number } {
  const wait = { notYet: waits.start, unknown: waits.answer, gone: undefined }[presence];
  return wait === undefined ? {} : { lookAgainAfter: wait };
}

function newReport({ podUID, qemu, powerDown, published }: GuestFacts): GuestReport | undefined {
  const state = stateToTell(qemu);
  if (state === undefined) return undefined;
  const said = {
    podUID,
    ...state,
    ...(powerDown === undefined ? {} : { powerDownRequestedAt: new Date(powerDown.requestedAt).toISOString() }),
  };
  const { sequence = 0, ...saidBefore } = published ?? {};
  return saysTheSame(said, saidBefore) ? undefined : { ...said, sequence: sequence + 1 };
}

function stateToTell(qemu: QemuFacts): Pick<GuestReport, 'runState' | 'running' | 'blockers'> | undefined {
  if (qemu.presence === 'gone') return { runState: qemuEnded, running: false, blockers: [] };
  if (qemu.presence !== 'present') return undefined;
  const { runState, running, blockers } = qemu;
  return { runState, running, blockers: [...blockers] };
}

function saysTheSame(said: object, before: object): boolean {
  const sorted = (report: object) => JSON.stringify(Object.entries(report).sort(([a], [b]) => (a < b ? -1 : 1)));
  return sorted(said) === sorted(before);
}
