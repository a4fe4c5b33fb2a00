import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { createKeyPair } from '../../src/certificates/key-pair.ts';
import { defineHardware, type HardwareDefinition } from '../../src/machine/hardware.ts';
import { type Features, probe } from '../../src/qmp/features.ts';
import type { Place } from '../cluster/network.ts';
import { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { BareQemu } from './bare-qemu.ts';
import { assertIntact, gapsSince, untilBeating, untilReady } from './console.ts';
import type { Figures } from './metric.ts';
import { type Profile, specOf } from './profile.ts';
import { migrateStraight } from './straight-migration.ts';

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
    const credentials = `creds-${this.#moves}`;
    await Promise.all([
      source.encrypt(credentials, 'client', { own, peer }),
      target.encrypt(credentials, 'server', { own: peer, peer: own }),
    ]);
    const times = await migrateStraight({
      source: { monitor: source.monitor, credentials },
      target: { monitor: target.monitor, credentials },
      features: this.#known,
      address: this.#place.address,
      serverName,
    });
    await source[Symbol.asyncDispose]();
    this.#qemu = target;
    await untilBeating(this.#recorder, target.name);
    const { qemuDowntime, transferredBytes } = times;
    const { arrivedAt: _, ...gaps } = gapsSince(this.#recorder, recordedBefore, qemuDowntime);
    return {
      wall: times.continued - started,
      issued: times.issued - started,
      firstByte: times.activeAt - startedAt,
      ...(qemuDowntime === undefined ? {} : { qemuDowntime }),
      downtime: times.resumed - times.stopped,
      ...gaps,
      ...(transferredBytes === undefined ? {} : { wireMiB: transferredBytes / 2 ** 20 }),
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

  get #known(): Features {
    if (this.#features === undefined) throw new Error('the guest was not started');
    return this.#features;
  }

  #launch(incoming: boolean): Promise<BareQemu> {
    const folder = join(this.#directory, `bare-${this.#hardware.uuid.slice(0, 8)}-${this.#moves}`);
    const onFolder = () => this.#recorder.follow(folder, join(folder, 'serial'));
    return BareQemu.start(folder, this.#hardware, this.#place, { incoming, onFolder });
  }
}
