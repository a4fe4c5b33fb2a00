/** Files for QEMU to read at once, in a run volume that a guest which broke out may own. */
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  mkdirSync,
  openSync,
  rmdirSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { opendir, readdir } from 'node:fs/promises';
import { type RunVolume, RunVolumeError } from '../qemu/run-volume.ts';

const nameForm = /^\.vmferry-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const newFileFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
/** QEMU is another user, and files cannot be given to it without a privilege that the agent does not have. */
const folderMode = 0o755;
const fileMode = 0o644;

/**
 * A folder of the agent's in a run volume. Its owner cannot be kept from renaming it or from putting another in its place, so all
 * is done through handles: what is written and what is removed is in the folder that was made here, or nowhere. Reading the
 * files tells a guest that broke out no more than it can read in its QEMU's memory.
 */
export class PassingFolder implements Disposable {
  /** Relative to the run volume, QEMU's working folder. */
  readonly name: string;
  readonly #volume: RunVolume;
  readonly #descriptor: number;
  readonly #files: readonly string[];

  private constructor(volume: RunVolume, name: string, descriptor: number, files: readonly string[]) {
    this.#volume = volume;
    this.name = name;
    this.#descriptor = descriptor;
    this.#files = files;
  }

  /**
   * Lays the files down, all or none. Disposing removes them; `volume` must be held until then.
   * @throws RunVolumeError when the folder is not the one that was made; the file system's errors, such as ENOSPC.
   */
  static create(volume: RunVolume, contents: Readonly<Record<string, string>>): PassingFolder {
    const name = `.vmferry-${randomUUID()}`;
    mkdirSync(`${volume.path}/${name}`, { mode: folderMode });
    const folder = new PassingFolder(volume, name, openOwnFolder(volume, name), Object.keys(contents));
    try {
      fchmodSync(folder.#descriptor, folderMode);
      for (const [file, text] of Object.entries(contents)) writeNew(`${pathOf(folder.#descriptor)}/${file}`, text);
      return folder;
    } catch (error) {
      folder[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Removes what agents have left that ended before they could; what only bears such a name is not touched. Not to be called
   * while somebody holds such a folder.
   * @throws the file system's errors when one of them stays.
   */
  static async removeLeft(volume: RunVolume): Promise<void> {
    for await (const { name } of await opendir(volume.path)) {
      if (!nameForm.test(name)) continue;
      const folder = await PassingFolder.#find(volume, name);
      folder?.[Symbol.dispose]();
    }
  }

  static async #find(volume: RunVolume, name: string): Promise<PassingFolder | undefined> {
    try {
      const descriptor = openOwnFolder(volume, name);
      return new PassingFolder(volume, name, descriptor, await readdir(pathOf(descriptor)));
    } catch (error) {
      if (!(error instanceof RunVolumeError)) throw error;
      return undefined;
    }
  }

  [Symbol.dispose](): void {
    try {
      for (const file of this.#files) unlessMissing(() => unlinkSync(`${pathOf(this.#descriptor)}/${file}`));
      // Renamed by somebody else it stays, but empty.
      unlessMissing(() => rmdirSync(`${this.#volume.path}/${this.name}`));
    } finally {
      closeSync(this.#descriptor);
    }
  }
}

function pathOf(descriptor: number): string {
  return `/proc/self/fd/${descriptor}`;
}

/** A descriptor of the folder of this name, when the agent has made it. */
function openOwnFolder(volume: RunVolume, name: string): number {
  const descriptor = volume.openFolder(name);
  if (fstatSync(descriptor).uid === process.geteuid?.()) return descriptor;
  closeSync(descriptor);
  throw new RunVolumeError('RunVolumeUntrusted', `${name} was put there by somebody else`);
}

function writeNew(path: string, text: string): void {
  const descriptor = openSync(path, newFileFlags, fileMode);
  try {
    // Whatever this process's umask is.
    fchmodSync(descriptor, fileMode);
    writeFileSync(descriptor, text);
  } finally {
    closeSync(descriptor);
  }
}

function unlessMissing(removal: () => void): void {
  try {
    removal();
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
}
