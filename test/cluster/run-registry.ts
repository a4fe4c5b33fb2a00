import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { cacheFolder } from '../../dev/cache.ts';

/** What has to be known of a cluster to end it without the harness that started it. */
export interface Run {
  id: string;
  owner: { pid: number; startTime: string };
  directory: string;
  /** A folder that the caller named stays, for its logs. */
  keepDirectory: boolean;
  /** Network namespaces of this run; with them go all links inside. */
  namespaces: string[];
}

const live = new Set<Run>();

const recordFile = (id: string) => path.join(cacheFolder('runs'), `${id}.json`);

/** Registers a new run of this process, after ending those whose process died without doing so. */
export function beginRun(directory?: string): Run {
  endStaleRuns();
  const id = randomBytes(3).toString('hex');
  const run: Run = {
    id,
    owner: { pid: process.pid, startTime: startTime(process.pid) ?? '' },
    directory: path.resolve(directory ?? path.join(cacheFolder('runs'), id)),
    keepDirectory: directory !== undefined,
    namespaces: [],
  };
  mkdirSync(run.directory, { recursive: true });
  saveRun(run);
  endRunsWithProcess();
  live.add(run);
  return run;
}

/** To be called before something named in the record is made, so that a crash in between leaves nothing unknown. */
export function saveRun(run: Run): void {
  writeFileSync(recordFile(run.id), JSON.stringify(run));
}

/**
 * Ends all processes of a run, then removes its namespaces, folder and record. Synchronous, because it is also what
 * happens when the harness exits or is interrupted. Nothing in the folder is worth a graceful shutdown.
 */
export function endRun(run: Run): void {
  killProcessesIn(run.directory);
  for (const namespace of run.namespaces) spawnSync('ip', ['netns', 'delete', namespace], { stdio: 'ignore' });
  if (!run.keepDirectory) rmSync(run.directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 20 });
  rmSync(recordFile(run.id), { force: true });
  live.delete(run);
}

function endStaleRuns(): void {
  for (const file of readdirSync(cacheFolder('runs'))) {
    if (!file.endsWith('.json')) continue;
    const run = readRun(path.join(cacheFolder('runs'), file));
    if (!run || startTime(run.owner.pid) === run.owner.startTime) continue;
    try {
      endRun(run);
    } catch (error) {
      // It may be root's, started with this user's cache; that must not keep a new run from starting.
      console.warn(`what is left of an earlier run stays in ${run.directory}: ${String(error)}`);
    }
  }
}

function readRun(file: string): Run | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Run;
  } catch {
    return undefined; // another harness ended it, or is just writing it
  }
}

function endAll(): void {
  for (const run of live) endRun(run);
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
let installed = false;

/**
 * Ends all runs when this process exits or is interrupted. Where the program listens to the signal itself, its first
 * occurrence is left to it, to dispose of the cluster in its own order.
 */
function endRunsWithProcess(): void {
  if (installed) return;
  installed = true;
  process.on('exit', endAll);
  for (const signal of signals) {
    let leftToProgram = process.listenerCount(signal) > 0;
    const onSignal = () => {
      if (!leftToProgram && process.listenerCount(signal) === 1) {
        endAll();
        process.off(signal, onSignal);
        process.kill(process.pid, signal);
      }
      leftToProgram = false;
    };
    process.on(signal, onSignal);
  }
}

/**
 * Kills every process whose working directory lies in the folder: the control plane, the node processes, and the
 * QEMUs, which outlive localnode and run in their pods' folders. A process with a terminal is a person's shell that
 * looks around there, and is left alone.
 */
function killProcessesIn(directory: string): void {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const pids = processesIn(directory);
    if (pids.length === 0) return;
    if (Date.now() > deadline) throw new Error(`processes in ${directory} do not end: ${pids.join(', ')}`);
    for (const pid of pids) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it ended by itself
      }
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  }
}

/** Pids of the processes, other than this one, that work in or below the folder and have no terminal. */
export function processesIn(directory: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid)
    .filter((pid) => {
      const cwd = workingDirectory(pid);
      if (cwd !== directory && !cwd?.startsWith(`${directory}/`)) return false;
      const stat = processStat(pid);
      return stat !== undefined && stat.state !== 'Z' && stat.terminal === '0';
    });
}

function workingDirectory(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined; // ended, a zombie, or another user's
  }
}

const startTime = (pid: number): string | undefined => processStat(pid)?.startTime;

/** The fields of /proc/PID/stat behind the program's name, which may itself hold spaces and brackets. */
function processStat(pid: number): { state: string; terminal: string; startTime: string } | undefined {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    const [state = '', , , , terminal = ''] = fields;
    return { state, terminal, startTime: fields[19] ?? '' };
  } catch {
    return undefined;
  }
}
