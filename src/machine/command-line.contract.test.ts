/** Whether a real QEMU takes the command line, and whether two of them that were started with it can exchange a guest. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { argumentsHash } from './arguments-hash.ts';
import { qemuArguments } from './command-line.ts';
import { defineHardware } from './hardware.ts';

const program = process.env.VMFERRY_QEMU ?? 'qemu-system-x86_64';

const hardware = defineHardware(
  {
    uid: '0f8fad5b-d9cb-469f-a165-70867728950e',
    spec: {
      memory: '64Mi',
      cpu: { cores: 2 },
      firmware: { bios: {} },
      networks: [
        { name: 'default', podNetwork: {} },
        { name: '2nd', macAddress: '52:54:00:00:00:01', podNetwork: {} },
      ],
    },
  },
  { accelerator: 'tcg' },
);

class StartedQemu implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'vmferry-machine-'));
  readonly #process: ChildProcess;
  #stderr = '';

  constructor(options: { incoming: boolean; paused: boolean }) {
    const args = qemuArguments(hardware, { ...options, name: 'default/web' });
    this.#process = spawn(program, args, { cwd: this.folder, stdio: ['ignore', 'ignore', 'pipe'] });
    this.#process.stderr?.on('data', (chunk) => {
      this.#stderr += chunk;
    });
  }

  argv(): string[] {
    return readFileSync(`/proc/${this.#process.pid}/cmdline`, 'utf8').replace(/\0$/, '').split('\0');
  }

  /** One command over a connection of its own to one of the monitors; resolves with what it returns. */
  async execute(name: string, args: object = {}, monitor = 'qmp'): Promise<unknown> {
    const socket = connect(join(this.folder, monitor));
    try {
      await once(socket, 'connect');
      for (const execute of ['qmp_capabilities', name]) {
        socket.write(`${JSON.stringify({ execute, arguments: execute === name ? args : {} })}\n`);
      }
      const replies = [];
      for await (const line of createInterface(socket)) {
        const message = JSON.parse(line);
        if ('error' in message) throw new Error(`${name}: ${message.error.desc}`);
        if ('return' in message && replies.push(message.return) === 2) break;
      }
      return replies[1];
    } finally {
      socket.destroy();
    }
  }

  /** Resolves once both monitors answer. */
  async answers(): Promise<void> {
    const ready = async () => {
      if (this.#process.exitCode !== null) throw new Error(`QEMU ended: ${this.#stderr}`);
      return Promise.all(['qmp', 'qmp2'].map((monitor) => this.execute('query-status', {}, monitor))).catch(() => []);
    };
    await expect.poll(ready, { timeout: 20_000, interval: 5 }).toHaveLength(2);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode === null) {
      const exit = once(this.#process, 'exit');
      this.#process.kill('SIGKILL');
      await exit;
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

test('QEMU runs with the command line, and both monitors and the console are there', async () => {
  await using qemu = new StartedQemu({ incoming: false, paused: false });
  await qemu.answers();
  expect(await qemu.execute('query-status')).toMatchObject({ status: 'running' });
  expect(await qemu.execute('query-uuid')).toEqual({ UUID: hardware.uuid });
  expect(await qemu.execute('query-name')).toEqual({ name: 'default/web' });
  expect(await qemu.execute('query-memory-size-summary')).toMatchObject({ 'base-memory': hardware.memoryBytes });
  expect(await qemu.execute('qom-get', { path: '/machine', property: 'type' })).toBe(`${hardware.machineType}-machine`);
  const slots = hardware.networks.map(({ name, macAddress }) => ({
    path: `/machine/peripheral/net-${name}`,
    macAddress,
  }));
  for (const { path, macAddress } of slots) {
    expect(await qemu.execute('qom-get', { path, property: 'mac' })).toBe(macAddress);
  }
  const console = connect(join(qemu.folder, 'serial'));
  await once(console, 'connect');
  console.destroy();
});

test('a paused VM stands still', async () => {
  await using qemu = new StartedQemu({ incoming: false, paused: true });
  await qemu.answers();
  expect(await qemu.execute('query-status')).toMatchObject({ status: 'prelaunch', running: false });
});

test('a guest moves between two QEMUs, whose arguments have the same hash', async () => {
  await using source = new StartedQemu({ incoming: false, paused: false });
  await using target = new StartedQemu({ incoming: true, paused: false });
  await Promise.all([source.answers(), target.answers()]);
  expect(argumentsHash(target.argv())).toBe(argumentsHash(source.argv()));
  expect(await source.execute('query-migrate')).not.toHaveProperty('blocked-reasons');

  const capabilities = ['return-path', 'validate-uuid', 'late-block-activate', 'multifd'].map((capability) => ({
    capability,
    state: true,
  }));
  for (const qemu of [source, target]) await qemu.execute('migrate-set-capabilities', { capabilities });
  const uri = `unix:${join(target.folder, 'migration')}`;
  await target.execute('migrate-incoming', { uri });
  await source.execute('migrate', { uri });
  await expect.poll(() => source.execute('query-migrate'), { timeout: 30_000 }).toMatchObject({ status: 'completed' });
  expect(await target.execute('query-status')).toMatchObject({ status: 'paused' });
  await target.execute('cont');
  expect(await target.execute('query-status')).toMatchObject({ status: 'running' });
});
