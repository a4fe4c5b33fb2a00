import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type OpenOptions, QmpConnection } from '../connection.ts';

/** A real QEMU without devices, stopped before its first instruction, with two monitors. */
export class QemuProcess implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly folder: string;
  readonly #ended: Promise<unknown>;

  static async start(...moreArguments: string[]): Promise<QemuProcess> {
    const qemu = new QemuProcess(await mkdtemp(join(tmpdir(), 'qmp-')), moreArguments);
    while (!existsSync(qemu.socketPath('qmp2'))) {
      if (qemu.child.exitCode !== null) throw new Error(`QEMU ended with code ${qemu.child.exitCode}`);
      await delay(10);
    }
    return qemu;
  }

  private constructor(folder: string, moreArguments: string[]) {
    this.folder = folder;
    const monitors = ['qmp', 'qmp2'].flatMap((name) => ['-qmp', `unix:${this.socketPath(name)},server=on,wait=off`]);
    const machine = ['-machine', 'pc-q35-7.2,accel=tcg', '-m', '131080K', '-S'];
    const bare = ['-nodefaults', '-no-user-config', '-display', 'none'];
    this.child = spawn('qemu-system-x86_64', [...bare, ...machine, ...monitors, ...moreArguments], {
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    this.#ended = once(this.child, 'exit');
  }

  socketPath(name: string): string {
    return join(this.folder, name);
  }

  /** QEMU binds a socket before it listens on it. */
  async open(name = 'qmp', options: OpenOptions = {}): Promise<QmpConnection> {
    for (;;) {
      try {
        return await QmpConnection.open(this.socketPath(name), options);
      } catch (error) {
        if ((error as { errno?: string }).errno !== 'ECONNREFUSED') throw error;
        await delay(10);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL');
    await this.#ended;
    await rm(this.folder, { recursive: true });
  }
}
