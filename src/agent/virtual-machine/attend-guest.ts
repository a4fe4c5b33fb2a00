/** One look at a guest: gathers the facts from QEMU and the state directory, asks `guestStep`, and does what it says. */
import type { Logger } from 'pino';
import { QmpError } from '../../qmp/errors.ts';
import type { Qemu } from '../qemu/qemu.ts';
import { readBlockers } from '../qemu/read-blockers.ts';
import { returnedGuest } from '../returned-guest.ts';
import type { StateDirectory } from '../state-directory.ts';
import {
  type GuestEffect,
  type GuestFacts,
  type GuestReport,
  guestStep,
  type PowerDown,
  type QemuFacts,
} from './guest-step.ts';

export interface GuestScope extends Pick<GuestFacts, 'wish' | 'gracePeriodMilliseconds'> {
  readonly qemu: Qemu;
  readonly state: StateDirectory;
  readonly published: GuestReport | undefined;
  readonly logger: Logger;
}

/** What the look has left to do for others. */
export interface GuestLook {
  readonly report?: GuestReport;
  /** QEMU is there and answers. */
  readonly answers: boolean;
  /** Milliseconds; 0 after something was done. */
  readonly lookAgainAfter?: number;
}

/** State files of the pod, beside those of its migrations. */
const files = { attended: 'guest-attended', held: 'guest-held', powerDown: 'guest-power-down' };
const quitAnswerMilliseconds = 1_000;

type Executor<K extends GuestEffect['kind']> = (
  scope: GuestScope,
  effect: Extract<GuestEffect, { kind: K }>,
) => Promise<unknown>;

const executors: { [K in GuestEffect['kind']]: Executor<K> } = {
  hold: ({ state, qemu }) => state.mark(qemu.podUID, files.held),
  release: ({ state, qemu }) => state.clear(qemu.podUID, files.held),
  stop: async ({ qemu }) => (await qemu.monitor()).execute('stop'),
  continue: async ({ qemu }) => (await qemu.monitor()).execute('cont'),
  pressPowerButton: async ({ qemu }) => (await qemu.monitor()).execute('system_powerdown'),
  quit: async ({ qemu }) => {
    try {
      await (await qemu.monitor()).execute('quit', {}, { timeoutMilliseconds: quitAnswerMilliseconds });
    } catch (error) {
      // What it answers, if anything, is no matter: whether the process ends is.
      if (!(error instanceof QmpError)) throw error;
    }
  },
  kill: ({ qemu }) => qemu.kill(),
  notePowerDown: ({ state, qemu }, { powerDown }) =>
    powerDown === undefined
      ? state.clear(qemu.podUID, files.powerDown)
      : state.write(qemu.podUID, files.powerDown, powerDown),
};

/**
 * The caller holds the pod's place in the queue, and has made sure that this pod owns the VM and that no migration has it.
 * @throws QmpError when QEMU refuses or drops a command; the errors of `Qemu.presence` and of the state directory.
 */
export async function attendGuest(scope: GuestScope): Promise<GuestLook> {
  const facts = await gatherFacts(scope);
  const { effects, report, lookAgainAfter } = guestStep(facts);
  for (const effect of effects) {
    if (effect.kind !== 'notePowerDown') scope.logger.info({ podUID: scope.qemu.podUID }, `Guest: ${effect.kind}`);
    const executor = executors[effect.kind] as Executor<typeof effect.kind>;
    await executor(scope, effect);
  }
  const wait = effects.length > 0 ? 0 : lookAgainAfter;
  return {
    answers: facts.qemu.presence === 'present',
    ...(report === undefined ? {} : { report }),
    ...(wait === undefined ? {} : { lookAgainAfter: wait }),
  };
}

async function gatherFacts(scope: GuestScope): Promise<GuestFacts> {
  const { state, wish, gracePeriodMilliseconds, published } = scope;
  const { podUID } = scope.qemu;
  const qemu = asReturned(await readGuest(scope.qemu), await state.has(podUID, returnedGuest));
  if (qemu.presence === 'present' && !(await state.has(podUID, files.attended))) {
    // It came paused by a migration, so its owner had paused it. From now on a pause that we have not noted is somebody else's.
    if (qemu.runState === 'paused') await state.mark(podUID, files.held);
    await state.mark(podUID, files.attended);
  }
  const powerDown = await state.read<PowerDown>(podUID, files.powerDown);
  return {
    now: Date.now(),
    podUID,
    wish,
    gracePeriodMilliseconds,
    qemu,
    held: await state.has(podUID, files.held),
    ...(powerDown === undefined ? {} : { powerDown }),
    ...(published === undefined ? {} : { published }),
  };
}

/** A guest that a migration has given back standing is paused, whatever QEMU calls it. */
function asReturned(qemu: QemuFacts, returned: boolean): QemuFacts {
  return returned && qemu.presence === 'present' && qemu.runState === 'postmigrate'
    ? { ...qemu, runState: 'paused' }
    : qemu;
}

async function readGuest(qemu: Qemu): Promise<QemuFacts> {
  try {
    const monitor = await qemu.monitor();
    const { status, running } = await monitor.execute('query-status');
    return { presence: 'present', runState: status.slice(0, 32), running, blockers: await readBlockers(monitor) };
  } catch (error) {
    if (!(error instanceof QmpError)) throw error;
    if ((await qemu.presence()) === 'present') return { presence: 'unknown' };
    return { presence: qemu.wasSeen ? 'gone' : 'notYet' };
  }
}
