import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { KeyPair } from '../../src/certificates/key-pair.ts';
import { qemuArguments } from '../../src/machine/command-line.ts';
import type { HardwareDefinition } from '../../src/machine/hardware.ts';
import { QmpConnection } from '../../src/qmp/connection.ts';
import { QmpConnectFailed } from '../../src/qmp/errors.ts';
import { ManagedProcess } from '../cluster/managed-process.ts';
import type { Place } from '../cluster/network.ts';
import { addCredentials } from './straight-migration.ts';

interface Keys {
  readonly own: KeyPair;
  readonly peer: KeyPair;
}

/** One QEMU with the command line that a pod of the same VM would have, in a node's network namespace. */
export class BareQemu implements AsyncDisposable {
  readonly name: string;
  readonly folder: string;
  readonly process: ManagedProcess;
  readonly monitor: QmpConnection;

  private constructor(folder: string, process: ManagedProcess, monitor: QmpConnection) {
    this.name = process.name;
    this.folder = folder;
    this.process = process;
    this.monitor = monitor;
  }

  /** Resolves when QEMU answers. `onFolder` is told its folder before it starts. */
  static async start(
    folder: string,
    hardware: HardwareDefinition,
    place: Place,
    options: { incoming: boolean; onFolder: (folder: string) => void },
  ): Promise<BareQemu> {
    await mkdir(folder, { recursive: true });
    options.onFolder(folder);
    const process = new ManagedProcess({
      name: folder,
      command: 'qemu-system-x86_64',
      args: qemuArguments(hardware, { incoming: options.incoming, paused: false, name: 'bench/bare' }).map((argument) =>
        expanded(argument, hardware),
      ),
      env: { PATH: globalThis.process.env.PATH ?? '' },
      cwd: folder,
      logFile: join(folder, 'log'),
      netns: place.netns,
    });
    return new BareQemu(folder, process, await connected(join(folder, 'qmp'), process));
  }

  /** Lets it trust one certificate, and no other. */
  async encrypt(id: string, endpoint: 'client' | 'server', { own, peer }: Keys): Promise<void> {
    const folder = join(this.folder, id);
    await mkdir(folder);
    await Promise.all([
      writeFile(join(folder, 'ca-cert.pem'), peer.certificate),
      writeFile(join(folder, `${endpoint}-cert.pem`), own.certificate),
      writeFile(join(folder, `${endpoint}-key.pem`), own.privateKey),
    ]);
    await addCredentials(this.monitor, id, { endpoint, dir: folder });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process.kill('SIGKILL');
    await this.monitor[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** What a kubelet does with `$(VARIABLE)` and `$$` in a pod's arguments. */
function expanded(argument: string, { firmware }: HardwareDefinition): string {
  return argument.replaceAll('$(BIOS)', firmware.bios?.image?.hostPath ?? '').replaceAll('$$', '$');
}

async function connected(socket: string, process: ManagedProcess): Promise<QmpConnection> {
  for (;;) {
    try {
      return await QmpConnection.open(socket);
    } catch (error) {
      if (!(error instanceof QmpConnectFailed)) throw error;
      process.assertRunning();
      await delay(2);
    }
  }
}
