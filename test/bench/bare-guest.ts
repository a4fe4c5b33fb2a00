import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { createKeyPair } from '../../src/certificates/key-pair.ts';
import { defineHardware, type HardwareDefinition } from '../../src/machine/hardware.ts';
import type { QmpEvent } from '../../src/qmp/events.ts';
import { type Features, probe } from '../../src/qmp/features.ts';
import { capabilitiesFor } from '../../src/qmp/migration-settings.ts';
import type { Place } from '../cluster/network.ts';
import { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { BareQemu } from './bare-qemu.ts';
import { assertIntact, gapsSince, untilBeating, untilReady } from './console.ts';
import type { Figures } from './metric.ts';
import { type Profile, specOf } from './profile.ts';

const deadlineMilliseconds = 60_000;
/** In both certificates; made up. */
const serverName = 'bench.vmferry.invalid';

interface Start {
  readonly profile: Profile;
  readonly directory: string;
  readonly places: readonly [Place, Place];
}

/** A guest that a straight script moves to and fro by QMP alone: as good as it gets. */
export class BareGuest implements AsyncDisposable {
  readonly #directory: string;
  readonly #places: readonly [Place, Place];
  readonly #hardware: HardwareDefinition;
  readonly #recorder: HeartbeatRecorder;
  #features: Features | undefined;
  #qemu: BareQemu | undefined;
  #moves = 0;

  private constructor(start: Start, hardware: HardwareDefinition, recorder: HeartbeatRecorder) {
    this.#directory = start.directory;
    this.#places = start.places;
    this.#hardware = hardware;
    this.#recorder = recorder;
  }

  /** Resolves when the guest has filled its memory. */
  static async start(start: Start): Promise<BareGuest> {
    const hardware = defineHardware({ uid: randomUUID(), spec: await specOf(start.profile) }, { accelerator: 'tcg' });
    const recorder = new HeartbeatRecorder();
    const guest = new BareGuest(start, hardware, recorder);
    const ready = untilReady(recorder);
    guest.#qemu = await guest.#launch(false);
    // What a straight script knows about its QEMU: not part of what is measured.
    guest.#features = await probe(guest.#qemu.monitor, 'source');
    await ready;
    return guest;
  }

  freeze(): void {
    process.kill(this.#running.process.pid, 'SIGSTOP');
  }

  thaw(): void {
    process.kill(this.#running.process.pid, 'SIGCONT');
  }

  /** From before the target QEMU is started until it has answered `cont`. */
  async migrate(): Promise<Figures> {
    const source = this.#running;
    const [own, peer] = await Promise.all([createKeyPair(serverName), createKeyPair(serverName)]);
    const recordedBefore = this.#recorder.output.length;
    const startedAt = Date.now();
    const started = performance.now();
    this.#moves += 1;
    const target = await this.#launch(true);
    const id = `creds-${this.#moves}`;
    const [atSource, atTarget] = await Promise.all([
      source.encrypt(id, 'client', { own, peer }),
      target.encrypt(id, 'server', { own: peer, peer: own }),
    ]);
    const limits = { 'downtime-limit': 300, 'max-bandwidth': 0 };
    await Promise.all([
      source.monitor.execute('migrate-set-capabilities', { capabilities: this.#capabilities('source') }),
      source.monitor.execute('migrate-set-parameters', { ...limits, ...atSource, 'tls-hostname': serverName }),
      target.monitor.execute('migrate-set-capabilities', { capabilities: this.#capabilities('target') }),
      target.monitor.execute('migrate-set-parameters', atTarget),
      target.monitor.execute('migrate-incoming', { uri: `tcp:${this.#place.address}:0` }),
    ]);
    const listening = await target.monitor.execute('query-migrate');
    const port = listening['socket-address']?.[0]?.port;
    const handedOver = handOver(source, target);
    const issued = performance.now() - started;
    await source.monitor.execute('migrate', { uri: `tcp:${this.#place.address}:${port}` });
    const { activeAt, stopped, resumed, continued } = await handedOver;
    const account = await source.monitor.execute('query-migrate');
    await source.monitor.execute('quit').catch(() => {}); // it may be gone before its answer is read
    await source.monitor.closed;
    await source[Symbol.asyncDispose]();
    this.#qemu = target;
    await untilBeating(this.#recorder, target.name);
    const { arrivedAt: _, ...gaps } = gapsSince(this.#recorder, recordedBefore, account.downtime);
    return {
      wall: continued - started,
      issued,
      firstByte: activeAt - startedAt,
      ...(account.downtime === undefined ? {} : { qemuDowntime: account.downtime }),
      downtime: resumed - stopped,
      ...gaps,
      ...(account.ram === undefined ? {} : { wireMiB: account.ram.transferred / 2 ** 20 }),
    };
  }

  assertIntact(): Promise<void> {
    return assertIntact(this.#recorder, this.#running.name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#qemu?.[Symbol.asyncDispose]();
    await this.#recorder[Symbol.asyncDispose]();
  }

  get #running(): BareQemu {
    if (this.#qemu === undefined) throw new Error('the guest was not started');
    return this.#qemu;
  }

  get #place(): Place {
    return this.#places[this.#moves % 2 === 0 ? 0 : 1];
  }

  #capabilities(side: 'source' | 'target') {
    if (this.#features === undefined) throw new Error('the guest was not started');
    return capabilitiesFor(side, this.#features);
  }

  #launch(incoming: boolean): Promise<BareQemu> {
    const folder = join(this.#directory, `bare-${this.#hardware.uuid.slice(0, 8)}-${this.#moves}`);
    const onFolder = () => this.#recorder.follow(folder, join(folder, 'serial'));
    return BareQemu.start(folder, this.#hardware, this.#place, { incoming, onFolder });
  }
}

interface Handover {
  /** QEMU's own stamp, milliseconds since the epoch. */
  activeAt: number;
  /** The script's clock (`performance.now()`): STOP and RESUME were read, and `cont` was answered. */
  stopped: number;
  resumed: number;
  continued: number;
}

/** Continues the source at `pre-switchover` and the target when the source is complete, each in the tick in which it is told. */
async function handOver(source: BareQemu, target: BareQemu): Promise<Handover> {
  const { promise, resolve, reject } = Promise.withResolvers<Handover>();
  const seen: Partial<Handover> = {};
  const next = async (event: QmpEvent) => {
    if (event.name === 'STOP') seen.stopped = performance.now();
    if (event.name !== 'MIGRATION') return;
    const { status } = event.data;
    if (status === 'active') seen.activeAt = event.timestampMilliseconds ?? Date.now();
    if (status === 'pre-switchover') await source.monitor.execute('migrate-continue', { state: 'pre-switchover' });
    if (status === 'failed') throw new Error('the bare migration failed');
    if (status !== 'completed') return;
    await target.monitor.execute('cont');
    const continued = performance.now();
    const { activeAt, stopped, resumed } = seen;
    if (activeAt === undefined || stopped === undefined || resumed === undefined) {
      throw new Error('QEMU completed a migration without telling all about it');
    }
    resolve({ activeAt, stopped, resumed, continued });
  };
  const endings = [
    source.monitor.onEvent((event) => void next(event).catch(reject)),
    target.monitor.onEvent((event) => {
      if (event.name === 'RESUME') seen.resumed = performance.now();
    }),
  ];
  const overdue = setTimeout(() => reject(new Error('the bare migration did not end')), deadlineMilliseconds);
  try {
    return await promise;
  } finally {
    clearTimeout(overdue);
    for (const end of endings) end();
  }
}
