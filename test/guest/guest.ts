/**
 * The two guests that tests, the demo and the benchmark run.
 *
 * Bare metal: `guestRom(options)` gives a firmware image for `-bios` (a VirtualMachine's
 * `firmware.bios.image.hostPath`); first byte on COM1 within milliseconds, a heartbeat up to each millisecond, memory
 * dirtied at a chosen rate and compared by the guest itself. `metal/guest.asm` describes its console.
 *
 * Linux: `ensureLinuxGuest()` gives kernel, initrd and command line; some seconds to a process that counts and checks
 * memory, and a polite answer to the power button.
 *
 * Both: `HeartbeatRecorder` records the consoles of source and target on one clock; `readHeartbeats(output)` says
 * whether the guest lived one unbroken life, its longest gap and its moves; `assertUnbroken` and
 * `assertNeverBothRunning` throw.
 *
 * Memory: QEMU 7.2 under TCG loses dirty pages when RAM is a multiple of 256 KiB: start guests with 8 KiB more.
 */
import type { OnProgress } from './debian-packages.ts';
import { ensureLinuxGuest } from './linux/linux.ts';
import { guestRom } from './metal/rom.ts';

/** Prepares both guests in the cache, so that nothing is downloaded or built while a test runs. */
export async function ensureGuest(onProgress: OnProgress): Promise<void> {
  await guestRom({ totalMiB: 64 }, onProgress);
  await ensureLinuxGuest(onProgress);
}
