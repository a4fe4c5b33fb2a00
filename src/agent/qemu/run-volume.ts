import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { checkedPodUID } from '../pod-uid.ts';

/** Linux' O_PATH, which Node does not name: a handle on the file itself, whatever it is; the same number on x86 and Arm. */
const O_PATH = 0o10000000;
const folderFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;

/** Where the kubelet keeps the `run` volume of a pod, below the pod's folder. */
const belowPod = ['volumes', 'kubernetes.io~empty-dir', 'run'];

export type RunVolumeErrorCode = 'RunVolumeMissing' | 'RunVolumeUntrusted';

export class RunVolumeError extends Error {
  readonly code: RunVolumeErrorCode;
  constructor(code: RunVolumeErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Names a folder as the kernel knows it, whatever paths lead to it. */
export interface FolderIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
}

/** A socket held open as a file: `path` leads to exactly this file, even if another has taken its name since. */
export interface HeldSocket extends Disposable {
  readonly path: string;
  /** Who made it: the caller checks that it is QEMU. */
  readonly uid: number;
}

/**
 * The folder that a QEMU shares with the agent. A guest that broke out of its QEMU owns it, so nothing in it is followed or
 * believed: each component is opened by itself, relative to the one before, and a link is refused.
 *
 * Held for one look only: an open folder would keep the kubelet from unmounting it.
 */
export class RunVolume implements Disposable {
  readonly identity: FolderIdentity;
  readonly #descriptor: number;

  private constructor(descriptor: number) {
    this.#descriptor = descriptor;
    const { dev, ino } = fstatSync(descriptor, { bigint: true });
    this.identity = { dev, ino };
  }

  /**
   * @param podsDirectory trusted: it is the administrator's setting.
   * @throws RunVolumeError, InvalidPodUID
   */
  static open(podsDirectory: string, podUID: string): RunVolume {
    let descriptor = open(podsDirectory, constants.O_RDONLY | constants.O_DIRECTORY, podsDirectory);
    for (const component of [checkedPodUID(podUID), ...belowPod]) {
      const parent = descriptor;
      try {
        descriptor = open(`/proc/self/fd/${parent}/${component}`, folderFlags, `${component} of pod ${podUID}`);
      } finally {
        closeSync(parent);
      }
    }
    return new RunVolume(descriptor);
  }

  /** Leads to this very folder as long as it is held. What is appended to it may be a link: never follow it. */
  get path(): string {
    return `/proc/self/fd/${this.#descriptor}`;
  }

  /**
   * The socket of this name. Connecting through the handle cannot be diverted by replacing the file, and needs no more than
   * the 107 bytes that a unix socket's path may have.
   * @throws RunVolumeError when there is none, or it is a link or not a socket.
   */
  socket(name: string): HeldSocket {
    const descriptor = open(`${this.path}/${name}`, O_PATH | constants.O_NOFOLLOW, name);
    const found = fstatSync(descriptor);
    if (!found.isSocket()) {
      closeSync(descriptor);
      throw new RunVolumeError('RunVolumeUntrusted', `${name} is not a socket`);
    }
    return { path: `/proc/self/fd/${descriptor}`, uid: found.uid, [Symbol.dispose]: () => closeSync(descriptor) };
  }

  /**
   * A descriptor of the folder of this name, which the caller closes.
   * @throws RunVolumeError when there is none, or it is a link or not a folder.
   */
  openFolder(name: string): number {
    return open(`${this.path}/${name}`, folderFlags, name);
  }

  [Symbol.dispose](): void {
    closeSync(this.#descriptor);
  }
}

function open(path: string, flags: number, what: string): number {
  try {
    return openSync(path, flags);
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
    throw missing
      ? new RunVolumeError('RunVolumeMissing', `there is no ${what}`, { cause: error })
      : new RunVolumeError('RunVolumeUntrusted', `${what} is not a plain folder or cannot be opened`, { cause: error });
  }
}
