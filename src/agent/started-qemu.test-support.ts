/** Real QEMUs for contract tests, started in run volumes as the kubelet or localnode would. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { createLogger } from '../observability/logger.ts';
import type { Qemu } from './qemu/qemu.ts';
import { QemuRegistry } from './qemu/registry.ts';
import { StateDirectory } from './state-directory.ts';

export const podUID = '0f8fad5b-d9cb-469f-a165-70867728950e';
const machine = ['-nodefaults', '-no-user-config', '-only-migratable', '-display', 'none'];
const hardware = ['-machine', 'pc-q35-7.2,accel=tcg', '-cpu', 'qemu64', '-m', '32776K', '-vga', 'none'];
const sockets = ['-qmp', 'unix:qmp,server=on,wait=off', '-qmp', 'unix:qmp2,server=on,wait=off'];

/** A node's folders, empty. Disposing ends every QEMU started in them. */
export class Node implements AsyncDisposable {
  readonly #root = mkdtempSync(join(tmpdir(), 'vmferry-agent-'));
  readonly podsDirectory = join(this.#root, 'pods');
  readonly #children: ChildProcess[] = [];
  readonly logger = createLogger({ name: 'test' });

  runFolder(uid = podUID): string {
    return join(this.podsDirectory, uid, 'volumes', 'kubernetes.io~empty-dir', 'run');
  }

  /** Starts a QEMU in the pod's run volume, as `user` if one is given; its sockets may not be there yet. */
  start(
    options: { uid?: string; user?: number; extra?: readonly string[]; env?: NodeJS.ProcessEnv } = {},
  ): ChildProcess {
    const { user } = options;
    const cwd = this.runFolder(options.uid);
    mkdirSync(cwd, { recursive: true });
    // As the kubelet leaves it, whoever the pod's user is.
    chmodSync(cwd, 0o777);
    const argv = [...machine, ...hardware, ...sockets, ...(options.extra ?? [])];
    const runAs = user === undefined ? {} : { uid: user, gid: user };
    const env = { ...process.env, ...options.env };
    const child = spawn('qemu-system-x86_64', argv, { cwd, env, stdio: ['ignore', 'ignore', 'inherit'], ...runAs });
    this.#children.push(child);
    return child;
  }

  /** An agent's view of the node; a second one stands for an agent that was restarted. */
  async registry(): Promise<QemuRegistry & { readonly state: StateDirectory }> {
    const state = await StateDirectory.open(join(this.#root, 'state'));
    const registry = new QemuRegistry({ podsDirectory: this.podsDirectory, state, logger: this.logger });
    return Object.assign(registry, { state });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) await ended(child, 'SIGKILL');
    rmSync(this.#root, { recursive: true, force: true });
  }
}

/** Waits until QEMU's monitor answers. */
export async function listening(qemu: Qemu): Promise<void> {
  await expect
    .poll(() =>
      qemu.monitor().then(
        () => true,
        () => false,
      ),
    )
    .toBe(true);
}

/** Waits for the end, after sending `signal` if one is given. */
export async function ended(child: ChildProcess, signal?: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  if (signal !== undefined) child.kill(signal);
  await exit;
}
