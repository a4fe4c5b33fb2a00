/** Reads and guards the process of one pod by what its shim left in the pod's folder. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readTail } from './log-tail.ts';
import { type EndedProcess, type ProcessState, unknownExitCode } from './process-state.ts';
import { processFiles } from './shim.ts';

interface ProcessRecord {
  readonly pid: number;
  /** In clock ticks since boot: with the pid, it names one process. */
  readonly startTime: number;
  readonly bootID: string;
  readonly startedAt: Date;
}

/** How long the shim may take to note the exit code of a program that has ended. */
const exitCodeMilliseconds = 2000;

/**
 * What became of the pod's process. One that ran in an earlier boot has ended with that boot.
 * Waits for the exit code of one that has just ended.
 */
export async function readProcess(podFolder: string): Promise<ProcessState> {
  const record = readRecord(podFolder);
  if (record === undefined) return { state: 'absent' };
  if (record === 'forbidden') return neverStarted(podFolder);
  const { startedAt } = record;
  if (isAlive(record)) return { state: 'running', startedAt };
  const end = readEnd(podFolder, startedAt);
  if (end !== undefined) return end;
  if (record.bootID !== currentBootID()) return lost(startedAt, 'NodeRebooted', 'The node was restarted.');
  return (await waitForEnd(podFolder, startedAt)) ?? lost(startedAt, 'Error', 'Its exit code is not known.');
}

/** Makes sure that no shim, not even one on its way, starts the pod any more. No effect on a pod that was started. */
export function forbidStart(podFolder: string): void {
  try {
    writeFileSync(path.join(podFolder, processFiles.record), '{}\n', { flag: 'wx' });
  } catch (error) {
    // Without the folder no shim can do anything.
    if (!isCode(error, 'EEXIST') && !isCode(error, 'ENOENT')) throw error;
  }
}

/** Sends the signal to the pod's process if it still runs. */
export function signalProcess(podFolder: string, signal: 'SIGTERM' | 'SIGKILL'): void {
  const record = readRecord(podFolder);
  if (record === undefined || record === 'forbidden' || !isAlive(record)) return;
  try {
    process.kill(record.pid, signal);
  } catch (error) {
    if (!isCode(error, 'ESRCH')) throw error;
  }
}

function readRecord(podFolder: string): ProcessRecord | 'forbidden' | undefined {
  const file = path.join(podFolder, processFiles.record);
  try {
    const text = readFileSync(file, 'utf8');
    // It is written in one go after it was created: empty means that this has not happened yet.
    if (text === '') return undefined;
    const record: Partial<ProcessRecord> = JSON.parse(text);
    const { pid, startTime, bootID } = record;
    if (pid === undefined || startTime === undefined || bootID === undefined) return 'forbidden';
    return { pid, startTime, bootID, startedAt: statSync(file).mtime };
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

function isAlive({ pid, startTime, bootID }: ProcessRecord): boolean {
  if (bootID !== currentBootID()) return false;
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // From field 3 on: the name before may hold spaces and brackets.
    const [state = '', ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return !['Z', 'X'].includes(state) && Number(rest[18]) === startTime;
  } catch (error) {
    if (isCode(error, 'ENOENT') || isCode(error, 'ESRCH')) return false;
    throw error;
  }
}

function readEnd(podFolder: string, startedAt: Date): EndedProcess | undefined {
  const file = path.join(podFolder, processFiles.exitCode);
  try {
    const text = readFileSync(file, 'utf8');
    if (!text.endsWith('\n')) return undefined;
    const exitCode = Number(text);
    const finishedAt = statSync(file).mtime;
    const reason = exitCode === 0 ? 'Completed' : 'Error';
    const message = exitCode === 0 ? '' : readTail(path.join(podFolder, processFiles.log));
    return { state: 'ended', exitCode, reason, message, startedAt, finishedAt };
  } catch (error) {
    if (isCode(error, 'ENOENT')) return undefined;
    throw error;
  }
}

async function waitForEnd(podFolder: string, startedAt: Date): Promise<EndedProcess | undefined> {
  const deadline = performance.now() + exitCodeMilliseconds;
  for (;;) {
    const end = readEnd(podFolder, startedAt);
    if (end !== undefined || performance.now() > deadline) return end;
    await delay(2);
  }
}

function lost(startedAt: Date, reason: 'NodeRebooted' | 'Error', message: string): EndedProcess {
  // Now, as nobody saw it end; the first report stays.
  return { state: 'ended', exitCode: unknownExitCode, reason, message, startedAt, finishedAt: new Date() };
}

function neverStarted(podFolder: string): EndedProcess {
  const finishedAt = statSync(path.join(podFolder, processFiles.record)).mtime;
  return { state: 'ended', exitCode: unknownExitCode, reason: 'NeverStarted', finishedAt };
}

function currentBootID(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
