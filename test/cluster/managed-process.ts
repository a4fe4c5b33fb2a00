import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';

/** How to start one long-running program of the cluster. */
interface ProcessSpec {
  name: string;
  command: string;
  args: string[];
  env: Record<string, string>;
  /** The cluster's folder: whatever runs in or below it ends with the cluster. */
  cwd: string;
  logFile: string;
  /** Runs inside this network namespace instead of the harness's own. */
  netns?: string | undefined;
}

/**
 * A program that a test may kill, stop and start again.
 *
 * It leads a session of its own, so that Ctrl-C in a terminal reaches the harness alone, which then ends everything in
 * order; and the kernel kills it when the harness dies (`setpriv --pdeathsig`). What it starts itself is not killed
 * with it: localnode's QEMUs must survive localnode.
 */
export class ManagedProcess {
  readonly name: string;
  readonly logFile: string;
  readonly #spec: ProcessSpec;
  #child: ChildProcess;

  constructor(spec: ProcessSpec) {
    this.name = spec.name;
    this.logFile = spec.logFile;
    this.#spec = spec;
    this.#child = launch(spec);
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error(`${this.name} could not be started: ${this.#spec.command}`);
    return pid;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null && this.#child.pid !== undefined;
  }

  /** Sends a signal. For those that end a process, waits until it is gone; SIGTERM may take as long as it likes. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (!this.running) return;
    const ends = signal === 'SIGKILL' || signal === 'SIGTERM' || signal === 'SIGINT';
    const gone = ends && once(this.#child, 'exit');
    this.#child.kill(signal);
    await gone;
  }

  /** Starts it again with the same command line, after killing it when it still runs. */
  async restart(): Promise<void> {
    await this.kill();
    this.#child = launch(this.#spec);
  }

  /** How it ended, in words; undefined while it runs. */
  get ended(): string | undefined {
    if (this.running) return undefined;
    const { exitCode, signalCode } = this.#child;
    return signalCode ?? `exit code ${exitCode}`;
  }

  /** @throws with the end of its log when it has ended, so that nobody waits for a dead process */
  assertRunning(): void {
    if (this.ended !== undefined) throw new Error(`${this.name} ended (${this.ended}):\n${this.logTail()}`);
  }

  logTail(lines = 15): string {
    return readFileSync(this.logFile, 'utf8').trimEnd().split('\n').slice(-lines).join('\n');
  }
}

function launch(spec: ProcessSpec): ChildProcess {
  const namespace = spec.netns === undefined ? [] : ['nsenter', `--net=/run/netns/${spec.netns}`];
  // setpriv and nsenter replace themselves by the next command, so the pid is the program's own.
  const [command = '', ...args] = ['setpriv', '--pdeathsig', 'KILL', ...namespace, spec.command, ...spec.args];
  const log = openSync(spec.logFile, 'a');
  try {
    const child = spawn(command, args, {
      cwd: spec.cwd,
      env: spec.env,
      stdio: ['ignore', log, log],
      detached: true,
    });
    // A command that cannot be started has no pid; assertRunning and `pid` report it.
    child.on('error', () => {});
    return child;
  } finally {
    closeSync(log);
  }
}
