import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * A QEMU of its own for the guests' tests, without anything of the product: two dozen lines of QMP show that the guest,
 * not the product, is right. 128 MiB, paused at start.
 */
export class BareQemu implements AsyncDisposable {
  readonly folder: string;
  readonly #process: ChildProcess;
  readonly #ended: Promise<number | null>;
  #socket: Socket | undefined;
  #replies: AsyncIterator<string> | undefined;

  private constructor(folder: string, args: readonly string[]) {
    this.folder = folder;
    this.#process = spawn('qemu-system-x86_64', args, { cwd: folder, stdio: ['ignore', 'inherit', 'inherit'] });
    this.#ended = new Promise((resolve, reject) => {
      this.#process.once('exit', resolve);
      this.#process.once('error', reject);
    });
  }

  /** Starts QEMU with `guest` (`-bios …` or `-kernel …`) and waits until it answers. */
  static async start(guest: readonly string[]): Promise<BareQemu> {
    const folder = await mkdtemp(join(tmpdir(), 'vmferry-guest-'));
    const machine = ['-machine', 'q35,accel=tcg', '-cpu', 'qemu64', '-m', '131080K', '-display', 'none', '-S'];
    const serial = ['-chardev', 'socket,id=serial,path=serial,server=on,wait=off', '-serial', 'chardev:serial'];
    const monitor = ['-qmp', 'unix:qmp,server=on,wait=off'];
    const qemu = new BareQemu(folder, ['-nodefaults', '-no-user-config', ...machine, ...serial, ...monitor, ...guest]);
    await qemu.#open();
    return qemu;
  }

  get serial(): string {
    return join(this.folder, 'serial');
  }

  /** Resolves with QEMU's exit code when it has ended. */
  get ended(): Promise<number | null> {
    return this.#ended;
  }

  /** One QMP command; resolves with what it returns. One at a time. */
  async execute(name: string, args: object = {}): Promise<unknown> {
    this.#socket?.write(`${JSON.stringify({ execute: name, arguments: args })}\n`);
    for (;;) {
      const line = await this.#replies?.next();
      if (line === undefined || line.done) throw new Error(`QEMU ended before it answered ${name}`);
      const reply: { return?: unknown; error?: { desc: string } } = JSON.parse(line.value);
      if (reply.error) throw new Error(`${name}: ${reply.error.desc}`);
      if ('return' in reply) return reply.return;
    }
  }

  /** Migrates the guest to `target`, another QEMU started with the same guest, and lets it run there. */
  async migrateTo(target: BareQemu, signal: AbortSignal): Promise<void> {
    const uri = `unix:${join(target.folder, 'migration')}`;
    const capabilities = [{ capability: 'return-path', state: true }];
    for (const qemu of [this, target]) await qemu.execute('migrate-set-capabilities', { capabilities });
    await target.execute('migrate-incoming', { uri });
    await this.execute('migrate', { uri });
    let status: string | undefined;
    while (status !== 'completed') {
      await delay(2, undefined, { signal });
      ({ status } = (await this.execute('query-migrate')) as { status?: string });
      if (status === 'failed') throw new Error('the migration failed');
    }
    await target.execute('cont');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#ended.catch(() => {});
    this.#socket?.destroy();
    await rm(this.folder, { recursive: true, force: true });
  }

  async #open(): Promise<void> {
    for (;;) {
      const socket = connect(join(this.folder, 'qmp'));
      const opened = once(socket, 'connect').then(
        () => true,
        () => false,
      );
      if (await opened) {
        this.#socket = socket.on('error', () => {});
        break;
      }
      if (this.#process.exitCode !== null) throw new Error('QEMU did not start');
      await delay(5);
    }
    this.#replies = createInterface(this.#socket)[Symbol.asyncIterator]();
    await this.#replies.next(); // the greeting
    await this.execute('qmp_capabilities');
  }
}
