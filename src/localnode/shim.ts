/** Starts a process that outlives localnode, and of which nothing is lost when localnode is not there. */
import { spawn } from 'node:child_process';

/** In the pod's folder. */
export const processFiles = {
  /** `{pid, startTime, bootID}` of the process itself; created exclusively, so that a pod is started at most once. */
  record: 'process.json',
  /** Its exit code; 128 and more is a signal's number above 128. */
  exitCode: 'exit-code',
  /** Standard output and error. */
  log: 'log',
} as const;

/** Exit code of a start that came too late. A program that ends with the same is reported without a code. */
const withdrawn = 125;

/**
 * Notes who it is and becomes the program. Field 22 of /proc/PID/stat, the start time, is the 20th behind the name, which ends with
 * the last bracket. Whoever comes second finds the record there and withdraws.
 */
const becomeProgram = `
folder=$1; shift
exec >>"$folder/${processFiles.log}" 2>&1
read -r stat <"/proc/$$/stat"
read -r boot </proc/sys/kernel/random/boot_id
record() { shift 19; printf '{"pid":%d,"startTime":%d,"bootID":"%s"}\\n' $$ "$1" "$boot"; }
set -C
record \${stat##*) } >"$folder/${processFiles.record}" || exit ${withdrawn}
set +C
exec "$@"`;

/**
 * Waits for the program and notes how it ended. Not in the background: a shell lets background programs ignore signals.
 */
const waitForProgram = `
folder=$1; program=$2; shift 2
/bin/sh -c "$program" sh "$folder" "$@"
code=$?
[ $code -eq ${withdrawn} ] || echo $code >"$folder/${processFiles.exitCode}"`;

export interface ShimOptions {
  /** Must exist, absolute. */
  readonly podFolder: string;
  readonly workingDirectory: string;
  readonly argv: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

/**
 * Resolves when the shim runs; the program is not yet sure to. The shim is a session of its own and holds nothing of this
 * process, neither files nor terminal.
 * @throws when there is no such working directory, or the system has no room for another process.
 */
export function startShim({ podFolder, workingDirectory, argv, environment }: ShimOptions): Promise<void> {
  const shim = spawn('/bin/sh', ['-c', waitForProgram, 'vmferry-shim', podFolder, becomeProgram, ...argv], {
    cwd: workingDirectory,
    env: { PATH: process.env.PATH, ...environment },
    detached: true,
    stdio: 'ignore',
  });
  shim.unref();
  return new Promise((resolve, reject) => {
    shim.once('spawn', resolve);
    shim.once('error', reject);
  });
}
