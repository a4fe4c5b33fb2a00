import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';

const patience = 5_000;

/**
 * A program that takes commands line by line and was started beforehand: a command then works within two milliseconds, where starting
 * a program takes tens, and stops this process for as long.
 */
export class Dialogue implements Disposable {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #inquiry: string;

  /** `inquiry` is a command that changes nothing and always prints something: by its answer the command before it is known to be done. */
  constructor(cwd: string, [program, ...args]: readonly [string, ...string[]], inquiry: string) {
    // Debian's users other than root lack the sbin folders on their PATH.
    const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` };
    this.#child = spawn(program, args, { cwd, env, stdio: 'pipe' });
    this.#inquiry = inquiry;
    this.#child.on('error', () => {}); // the next command is not answered
    this.#child.stdin.on('error', () => {});
  }

  /** Resolves when the command has been carried out. @throws with what the program complains about */
  async say(command: string): Promise<void> {
    const signal = AbortSignal.timeout(patience);
    const complaint = once(this.#child.stderr, 'data', { signal }).then(([text]) => {
      throw new Error(`${command}: ${String(text).trim()}`);
    });
    complaint.catch(() => undefined);
    this.#child.stdin.write(`${command}\n${this.#inquiry}\n`);
    await Promise.race([once(this.#child.stdout, 'data', { signal }), complaint]);
  }

  [Symbol.dispose](): void {
    this.#child.kill('SIGKILL');
  }
}
