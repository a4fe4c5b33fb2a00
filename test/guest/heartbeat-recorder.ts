import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { basename, dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { SerialRecord } from './serial-record.ts';

export type { SerialChunk } from './serial-record.ts';

/**
 * Records the serial consoles of several QEMUs on one clock.
 *
 * Each is a unix socket on which QEMU listens (`-chardev socket,server=on,wait=off`). QEMU serves one client at a time
 * and throws away what the guest prints while there is none: nobody else may be connected.
 */
export class HeartbeatRecorder extends SerialRecord implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #sockets = new Map<string, Socket>();
  readonly #followers: Promise<void>[] = [];

  /**
   * Follows a serial socket from the moment it exists, under a name of its own for each QEMU process (two runs under
   * one name would hide that both ran), until QEMU ends or the recorder is disposed.
   */
  follow(side: string, path: string): void {
    this.#followers.push(this.#follow(side, path));
  }

  /** Types `text` into the console of `side`. */
  send(side: string, text: string): void {
    const socket = this.#sockets.get(side);
    if (socket === undefined) throw new Error(`no connection to the serial console of ${side}`);
    socket.write(text);
  }

  /** Resolves when `side` is connected, or rejects when the signal ends. */
  async connected(side: string, signal: AbortSignal): Promise<void> {
    while (!this.#sockets.has(side)) await delay(5, undefined, { signal });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#followers);
  }

  async #follow(side: string, path: string): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const recorded = await this.#record(side, path).catch(() => false); // no such folder yet
      if (recorded) return;
      // A target's socket appears some 50 ms before its guest runs: looking every 5 ms misses nothing.
      await delay(5, undefined, { signal: this.#stop.signal }).catch(() => {});
    }
  }

  /** One connection, from open to end; false when there was none. */
  async #record(side: string, path: string): Promise<boolean> {
    // A unix socket's address ends at 107 bytes and a pod's run folder is longer: go through an open folder.
    const folder = await open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
    const { promise: closed, resolve: close } = Promise.withResolvers<void>();
    const socket = connect({ path: `/proc/self/fd/${folder.fd}/${basename(path)}`, signal: this.#stop.signal });
    let connected = false;
    socket.setEncoding('latin1');
    socket.on('connect', () => {
      connected = true;
      this.#sockets.set(side, socket);
    });
    socket.on('data', (text: string) => this.push({ side, atMilliseconds: monotonicMilliseconds(), text }));
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => close());
    await closed;
    this.#sockets.delete(side);
    await folder.close();
    return connected;
  }
}

function monotonicMilliseconds(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
