import { randomUUID } from 'node:crypto';
import { closeSync, mkdirSync, openSync, renameSync, writeFileSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, rename, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { checkedPodUID } from './pod-uid.ts';

const bootFile = 'boot-id';
const nameForm = /^[a-z0-9][a-z0-9.-]{0,127}$/;

class InvalidStateName extends Error {
  readonly code = 'InvalidStateName';
}

/**
 * What an agent must still know after it was restarted, one folder per pod: `<root>/<pod UID>/<name>`. It is meant to lie on
 * the node's tmpfs: everything in it speaks of processes, and is void after a reboot. On a disk the kernel's boot id tells.
 * Nothing is synced, because what survives the agent need not survive the kernel; and notes are written without leaving the
 * event loop, because on a tmpfs that takes microseconds, and a guest stands still meanwhile.
 */
export class StateDirectory {
  readonly #root: string;
  /**
   * What the folders hold, read once: the agent is their only writer, and asks while a guest stands still. A file is written
   * before it is known here, so that what was known is there after a crash too.
   */
  readonly #known = new Map<string, Promise<Map<string, string>>>();

  private constructor(root: string) {
    this.#root = root;
  }

  /**
   * Creates the folder if need be, and empties it of what another boot has left.
   * @throws the file system's errors.
   */
  static async open(root: string, bootID?: string): Promise<StateDirectory> {
    await mkdir(root, { recursive: true, mode: 0o700 });
    await chmod(root, 0o700);
    const current = bootID ?? (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    const recorded = await unlessMissing(readFile(join(root, bootFile), 'utf8'));
    const directory = new StateDirectory(root);
    for (const entry of await readdir(root)) {
      // A dot marks a folder whose removal was cut short.
      if (recorded !== current || entry.startsWith('.')) await rm(join(root, entry), { recursive: true, force: true });
    }
    if (recorded !== current) directory.#replace(join(root, bootFile), current);
    return directory;
  }

  /** Creates the mark, and says whether it is new: of two callers exactly one is told true, over restarts too. */
  async mark(podUID: string, name: string): Promise<boolean> {
    const path = this.#pathInFolder(podUID, name);
    try {
      closeSync(openSync(path, 'wx', 0o600));
      (await this.#contents(podUID)).set(name, '');
      return true;
    } catch (error) {
      if (!isCode(error, 'EEXIST')) throw error;
      // Somebody else has written here: what is known of the folder is old.
      this.#known.delete(podUID);
      return false;
    }
  }

  /** Whether a mark or a value of this name exists. */
  async has(podUID: string, name: string): Promise<boolean> {
    checkName(name);
    return (await this.#contents(podUID)).has(name);
  }

  /** Replaces the value as a whole: a reader, also one after a crash, sees the old one or the new one. */
  async write(podUID: string, name: string, value: unknown): Promise<void> {
    const text = JSON.stringify(value);
    this.#replace(this.#pathInFolder(podUID, name), text);
    (await this.#contents(podUID)).set(name, text);
  }

  /** The value last written, trusted to have the type it was written with; undefined when there is none. */
  async read<T>(podUID: string, name: string): Promise<T | undefined> {
    checkName(name);
    const text = (await this.#contents(podUID)).get(name);
    return text === undefined ? undefined : (JSON.parse(text) as T);
  }

  /** Names of the pod's marks and values, sorted; none when the pod has no folder. */
  async list(podUID: string): Promise<string[]> {
    return [...(await this.#contents(podUID)).keys()].sort();
  }

  /** Takes one mark or value back. */
  async clear(podUID: string, name: string): Promise<void> {
    await rm(this.#path(podUID, name), { force: true });
    (await this.#contents(podUID)).delete(name);
  }

  /** Forgets the pod, all at once: a crash leaves everything or nothing. */
  async remove(podUID: string): Promise<void> {
    const doomed = join(this.#root, `.${randomUUID()}`);
    this.#known.delete(podUID);
    await unlessMissing(rename(this.#folder(podUID), doomed));
    await rm(doomed, { recursive: true, force: true });
  }

  /** Pods that have a folder. */
  async podUIDs(): Promise<string[]> {
    const entries = await readdir(this.#root, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith('.')).map((entry) => entry.name);
  }

  #contents(podUID: string): Promise<Map<string, string>> {
    const known = this.#known.get(podUID);
    if (known !== undefined) return known;
    const contents = readFolder(this.#folder(podUID));
    this.#known.set(podUID, contents);
    // A folder that could not be read is read again next time.
    contents.catch(() => this.#known.delete(podUID));
    return contents;
  }

  #folder(podUID: string): string {
    return join(this.#root, checkedPodUID(podUID));
  }

  #path(podUID: string, name: string): string {
    checkName(name);
    return join(this.#folder(podUID), name);
  }

  #pathInFolder(podUID: string, name: string): string {
    const path = this.#path(podUID, name);
    mkdirSync(this.#folder(podUID), { recursive: true, mode: 0o700 });
    return path;
  }

  #replace(path: string, text: string): void {
    const fresh = join(path, '..', `.${randomUUID()}`);
    writeFileSync(fresh, text, { mode: 0o600 });
    renameSync(fresh, path);
  }
}

/** `TMPFS_MAGIC`, by which statfs(2) names the file system. */
const tmpfsMagic = 0x01021994;

/** Whether the folder lies in memory: private keys are in it, and are to leave no trace on a disk. */
export async function isOnTmpfs(folder: string): Promise<boolean> {
  return (await statfs(folder)).type === tmpfsMagic;
}

function checkName(name: string): void {
  if (!nameForm.test(name)) throw new InvalidStateName(`not a name for a state file: ${JSON.stringify(name)}`);
}

async function readFolder(folder: string): Promise<Map<string, string>> {
  const names = ((await unlessMissing(readdir(folder))) ?? []).filter((name) => nameForm.test(name));
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
  return new Map(names.map((name, index) => [name, texts[index] ?? '']));
}

async function unlessMissing<T>(result: Promise<T>): Promise<T | undefined> {
  try {
    return await result;
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
