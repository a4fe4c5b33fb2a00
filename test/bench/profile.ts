import type { VirtualMachineSpec } from '../../src/api/virtual-machine.gen.ts';
import { guestRom, type MetalGuestOptions } from '../guest/metal/rom.ts';

/** A guest to be moved, the same on both sides of the comparison. */
export interface Profile {
  readonly title: string;
  readonly memory: string;
  readonly guest: MetalGuestOptions;
}

/** One heartbeat a millisecond shows a pause to the millisecond. Memory is compared once, at the end: it costs the CPU that both sides share. */
const quiet = { heartbeatMilliseconds: 1, compareMiBPerSecond: 0 };

export const profiles = {
  idle: { title: 'idle guest, 256 MiB, 64 MiB of them in use', memory: '256Mi', guest: { totalMiB: 64, ...quiet } },
  dirty: {
    title: '256 MiB, all in use, 64 MiB of them rewritten at 100 MiB/s',
    memory: '256Mi',
    guest: { totalMiB: 255, hotMiB: 64, dirtyMiBPerSecond: 100, ...quiet },
  },
  large: { title: '1 GiB of incompressible memory', memory: '1Gi', guest: { totalMiB: 1023, ...quiet } },
} as const satisfies Record<string, Profile>;

export type ProfileName = keyof typeof profiles;

export async function specOf({ memory, guest }: Profile): Promise<VirtualMachineSpec> {
  return { memory, firmware: { bios: { image: { hostPath: await guestRom(guest) } } } };
}
