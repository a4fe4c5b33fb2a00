import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { FolderIdentity } from './run-volume.ts';

/** A process, told apart from a later one with the same number. `startTime` is in clock ticks since boot. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly startTime: number;
}

class ProcessesUnreadable extends Error {
  readonly code = 'ProcessesUnreadable';
}

class ProcessNotEnded extends Error {
  readonly code = 'ProcessNotEnded';
}

/**
 * The QEMU whose working folder is this one: QEMU is started in its run volume, in a container as well as outside, and the
 * kernel names a folder by the same two numbers everywhere. The oldest, should there be several.
 *
 * Synchronous, one `stat` per process of the node: some 10 µs each.
 * @throws ProcessesUnreadable when there is none among the processes that can be looked at, but a QEMU that cannot.
 */
export function findQemu(folder: FolderIdentity): ProcessIdentity | undefined {
  const found: ProcessIdentity[] = [];
  let unreadable: number | undefined;
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid)) continue;
    try {
      const startTime = worksIn(pid, folder) && isQemu(pid) ? readStartTime(pid) : undefined;
      if (startTime !== undefined) found.push({ pid, startTime });
    } catch (error) {
      if (!isCode(error, 'EACCES')) throw error;
      if (mayBeQemu(pid)) unreadable = pid;
    }
  }
  // "There is none" ends pods and moves VMs: a process behind a curtain must not be taken for none.
  if (found.length === 0 && unreadable !== undefined)
    throw new ProcessesUnreadable(`process ${unreadable} cannot be looked at: the agent lacks CAP_SYS_PTRACE`);
  return found.sort((a, b) => a.startTime - b.startTime)[0];
}

/** Whether it still runs. One that has ended but was not waited for by its parent does not. */
export function isAlive(process: ProcessIdentity): boolean {
  return readStartTime(process.pid) === process.startTime;
}

/** The user as whom it creates files; undefined when it is gone. */
export function fileOwner(process: ProcessIdentity): number | undefined {
  // Not the owner of /proc/PID: that is root for a process that may not be dumped.
  const status = unlessGone(() => readFileSync(`/proc/${process.pid}/status`, 'utf8'));
  const uids = status === undefined ? null : /^Uid:\t\d+\t\d+\t\d+\t(\d+)$/m.exec(status);
  return uids !== null && isAlive(process) ? Number(uids[1]) : undefined;
}

/** The arguments it was started with, program first; undefined when it is gone. */
export function argumentsOf(process: ProcessIdentity): readonly string[] | undefined {
  const text = unlessGone(() => readFileSync(`/proc/${process.pid}/cmdline`, 'utf8'));
  return text === undefined || text === '' || !isAlive(process) ? undefined : text.replace(/\0$/, '').split('\0');
}

/** A variable of the environment that it was started with; undefined when it has none of this name, or is gone. */
export function variableOf(process: ProcessIdentity, name: string): string | undefined {
  const text = unlessGone(() => readFileSync(`/proc/${process.pid}/environ`, 'utf8'));
  const entry = text?.split('\0').find((each) => each.startsWith(`${name}=`));
  return isAlive(process) ? entry?.slice(name.length + 1) : undefined;
}

/**
 * SIGKILL, then waits until it is gone, at most `milliseconds`.
 * @throws ProcessNotEnded, or the signal's reason.
 */
export async function endProcess(target: ProcessIdentity, milliseconds: number, signal?: AbortSignal): Promise<void> {
  signalProcess(target, 'SIGKILL');
  const deadline = performance.now() + milliseconds;
  while (isAlive(target)) {
    if (performance.now() > deadline)
      throw new ProcessNotEnded(`process ${target.pid} did not end within ${milliseconds} ms of SIGKILL`);
    await delay(2, undefined, signal === undefined ? {} : { signal });
  }
}

/** @throws when it runs and may not be signalled. */
export function signalProcess(target: ProcessIdentity, signal: 'SIGTERM' | 'SIGKILL'): void {
  if (!isAlive(target)) return;
  try {
    process.kill(target.pid, signal);
  } catch (error) {
    if (isAlive(target)) throw error;
  }
}

function worksIn(pid: number, folder: FolderIdentity): boolean {
  const cwd = unlessGone(() => statSync(`/proc/${pid}/cwd`, { bigint: true, throwIfNoEntry: false }));
  return cwd !== undefined && cwd.ino === folder.ino && cwd.dev === folder.dev;
}

function isQemu(pid: number): boolean {
  // The kernel adds a word to the name of a file that was removed, as an upgrade does.
  const program = unlessGone(() => readlinkSync(`/proc/${pid}/exe`))?.replace(/ \(deleted\)$/, '');
  return program !== undefined && basename(program).startsWith('qemu-system-');
}

/** Field 22 of /proc/PID/stat; counted from the end of field 2, the name, which may hold spaces and brackets. */
function readStartTime(pid: number): number | undefined {
  const text = unlessGone(() => readFileSync(`/proc/${pid}/stat`, 'latin1'));
  if (text === undefined) return undefined;
  const [state, ...rest] = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return state === 'Z' || state === 'X' ? undefined : Number(rest[18]);
}

/**
 * Whether a process that may not be looked at could be one that is searched for. Its name is for all to read. An agent
 * without root rights has QEMUs of its own user only.
 */
function mayBeQemu(pid: number): boolean {
  const self = process.geteuid?.();
  return (
    unlessGone(() => readFileSync(`/proc/${pid}/comm`, 'latin1'))?.startsWith('qemu-system-') === true &&
    (self === 0 || unlessGone(() => statSync(`/proc/${pid}`).uid) === self)
  );
}

function unlessGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (isCode(error, 'ENOENT') || isCode(error, 'ESRCH')) return undefined;
    throw error;
  }
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
