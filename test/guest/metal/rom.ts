import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { builtFolder, nameOfContent } from '../built-folder.ts';
import { type OnProgress, unpackPackages } from '../debian-packages.ts';

const run = promisify(execFile);
const source = new URL('guest.asm', import.meta.url);

/** What the bare-metal guest does. The machine needs `totalMiB` + 1 MiB of memory. */
export interface MetalGuestOptions {
  /** Memory filled with a pattern that cannot be compressed, and compared all the time; 1 to 2047. */
  readonly totalMiB: number;
  /** The first part of it, rewritten in a ring; 0 to `totalMiB`. Default 0. */
  readonly hotMiB?: number;
  /** How fast; at most 2500, which no vCPU under TCG reaches: it then writes for ever. Default 0. */
  readonly dirtyMiBPerSecond?: number;
  /** How fast the guest walks over all memory to compare it, when it has nothing better to do. Default 32. */
  readonly compareMiBPerSecond?: number;
  /** Time between two heartbeats, 1 to 1000. Default 10. */
  readonly heartbeatMilliseconds?: number;
  /** The guest powers itself off after running this long. Default: never. */
  readonly powerOffAfterMilliseconds?: number;
  /** Whether the guest powers itself off when the ACPI power button is pressed. Default true. */
  readonly obeyPowerButton?: boolean;
}

const unlimitedMiBPerSecond = 2500;

/**
 * The guest as a firmware image (64 KiB, for `-bios`) in the cache; equal options give the same path.
 *
 * @throws RangeError for options out of bounds, MissingPrerequisite when no assembler can be had.
 */
export async function guestRom(options: MetalGuestOptions, onProgress: OnProgress = () => {}): Promise<string> {
  const words = parameterWords(options);
  const program = await assembled(onProgress);
  const image = Buffer.from(await readFile(program));
  if (image.toString('latin1', 0, 8) !== 'vmferry1') throw new Error(`${program} is not the bare-metal guest`);
  for (const [index, word] of words.entries()) image.writeUInt32LE(word, 8 + 4 * index);
  const folder = await builtFolder(`guest-metal-${nameOfContent(image)}`, (draft) =>
    writeFile(join(draft, 'guest.rom'), image),
  );
  return join(folder, 'guest.rom');
}

/** The parameters in the order in which the program's source declares them. */
function parameterWords(options: MetalGuestOptions): readonly number[] {
  const { totalMiB, hotMiB = 0, dirtyMiBPerSecond = 0, compareMiBPerSecond = 32 } = options;
  const { heartbeatMilliseconds = 10, powerOffAfterMilliseconds = 0, obeyPowerButton = true } = options;
  within('totalMiB', totalMiB, 1, 2047);
  within('hotMiB', hotMiB, dirtyMiBPerSecond > 0 ? 1 : 0, totalMiB);
  within('dirtyMiBPerSecond', dirtyMiBPerSecond, 0, unlimitedMiBPerSecond);
  within('compareMiBPerSecond', compareMiBPerSecond, 0, unlimitedMiBPerSecond);
  within('heartbeatMilliseconds', heartbeatMilliseconds, 1, 1000);
  within('powerOffAfterMilliseconds', powerOffAfterMilliseconds, 0, 2 ** 31);
  // Idle is left at least every 10 ms, for input and the power button.
  const wakeMilliseconds = Math.min(heartbeatMilliseconds, 10);
  return [
    pages(totalMiB),
    pages(hotMiB),
    fixedPoint(pages(dirtyMiBPerSecond) / 1000),
    fixedPoint(pages(compareMiBPerSecond) / 1000),
    heartbeatMilliseconds,
    Math.round(1193.182 * wakeMilliseconds),
    powerOffAfterMilliseconds,
    obeyPowerButton ? 1 : 0,
  ];
}

function within(name: string, value: number, least: number, most: number): void {
  if (!(value >= least && value <= most)) throw new RangeError(`${name} is ${value}, not in ${least}..${most}`);
}

const pages = (mebibytes: number) => Math.round(mebibytes * 256);
const fixedPoint = (value: number) => Math.round(value * 65536);

async function assembled(onProgress: OnProgress): Promise<string> {
  const folder = await builtFolder(`guest-metal-program-${nameOfContent(await readFile(source))}`, async (draft) => {
    onProgress('assembling the bare-metal guest');
    const nasm = await assembler(onProgress);
    await run(nasm, ['-f', 'bin', '-o', join(draft, 'program.rom'), source.pathname]);
  });
  return join(folder, 'program.rom');
}

/** The installed nasm, or else one unpacked from the distribution's package. */
async function assembler(onProgress: OnProgress): Promise<string> {
  try {
    await run('nasm', ['-v']);
    return 'nasm';
  } catch {
    const folder = await builtFolder('guest-nasm', (draft) => unpackPackages(['nasm'], draft, onProgress));
    return join(folder, 'usr/bin/nasm');
  }
}
