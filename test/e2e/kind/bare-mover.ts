/**
 * Runs in a pod of a cluster under test, and moves guests by QMP alone, one after the other: for each line that it is given, one line
 * that says how it went. It ends with its input.
 */
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { QmpConnection } from '../../../src/qmp/connection.ts';
import { QmpError } from '../../../src/qmp/errors.ts';
import { probe } from '../../../src/qmp/features.ts';
import { addCredentials, migrateStraight } from '../../bench/straight-migration.ts';
import { type BareMove, type BareMoved, keysFolder, monitorPort, serverName } from './bare-move.ts';

const patienceMilliseconds = 60_000;

async function move({ source: from, target: to }: BareMove): Promise<BareMoved> {
  await using source = await Monitor.open(from);
  const features = await probe(source.connection, 'source');
  await using target = await Monitor.open(to);
  const started = performance.now();
  const credentials = `creds-${randomUUID().slice(0, 8)}`;
  await Promise.all([
    addCredentials(source.connection, credentials, { endpoint: 'client', dir: `${keysFolder}/client` }),
    addCredentials(target.connection, credentials, { endpoint: 'server', dir: `${keysFolder}/server` }),
  ]);
  const { continued, resumed, stopped, qemuDowntime } = await migrateStraight({
    source: { monitor: source.connection, credentials },
    target: { monitor: target.connection, credentials },
    features,
    address: to,
    serverName,
  });
  return {
    took: continued - started,
    downtime: resumed - stopped,
    ...(qemuDowntime === undefined ? {} : { qemuDowntime }),
  };
}

/** A QEMU's monitor in another pod. The client of `src/qmp` speaks to sockets of its own machine: this one leads there. */
class Monitor implements AsyncDisposable {
  readonly connection: QmpConnection;
  readonly #stop: () => void;

  private constructor(connection: QmpConnection, stop: () => void) {
    this.connection = connection;
    this.#stop = stop;
  }

  /** Resolves when QEMU answers. */
  static async open(address: string): Promise<Monitor> {
    const path = `/tmp/${randomUUID()}`;
    const relay = createServer((near) => {
      const far = connect(monitorPort, address);
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        socket.setNoDelay();
        socket.on('error', () => undefined).on('close', () => other.destroy());
      }
      near.pipe(far).pipe(near);
    });
    await new Promise<void>((resolve) => relay.listen(path, resolve));
    const stop = () => {
      relay.close();
      rmSync(path, { force: true });
    };
    const deadline = performance.now() + patienceMilliseconds;
    for (;;) {
      try {
        return new Monitor(await QmpConnection.open(path, { commandTimeoutMilliseconds: patienceMilliseconds }), stop);
      } catch (error) {
        if (!(error instanceof QmpError) || performance.now() > deadline) throw error;
        await delay(5);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.connection[Symbol.asyncDispose]();
    this.#stop();
  }
}

for await (const line of createInterface(process.stdin)) {
  const moved = await move(JSON.parse(line));
  process.stdout.write(`${JSON.stringify(moved)}\n`);
}
