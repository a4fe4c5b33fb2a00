import { isIP } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { podAddressVariable } from '../../machine/pod.ts';
import type { MigrationStatus } from '../../qmp/commands.ts';
import { QmpConnection } from '../../qmp/connection.ts';
import { QmpBusy, QmpConnectFailed } from '../../qmp/errors.ts';
import type { QmpEvent } from '../../qmp/events.ts';
import { type Features, probe } from '../../qmp/features.ts';
import type { StateDirectory } from '../state-directory.ts';
import { argumentsOf, endProcess, fileOwner, findQemu, isAlive, type ProcessIdentity, variableOf } from './process.ts';
import { type HeldSocket, RunVolume, RunVolumeError } from './run-volume.ts';
import { seeOut } from './see-out.ts';

export interface QemuOptions {
  /** The kubelet's folder of pods, or localnode's of the same layout. */
  readonly podsDirectory: string;
  readonly state: StateDirectory;
  readonly logger: Logger;
}

/** QEMU serves one client per monitor, so it has two: the second is for when somebody sits on the first. */
const monitors = ['qmp', 'qmp2'];
/** The state file that says which process was seen. */
const seenFile = 'qemu';
const killDeadlineMilliseconds = 10_000;
/** A QEMU that does not answer must not be believed for ever. */
const newsMilliseconds = 100;

class QemuAbsent extends Error {
  readonly code = 'QemuAbsent';
}

/**
 * One pod's QEMU on this node: its process, and one monitor connection that everybody here shares. What is true of the
 * process is asked of the kernel each time; a monitor that does not answer proves nothing.
 */
export class Qemu implements AsyncDisposable {
  readonly podUID: string;
  readonly #options: QemuOptions;
  readonly #restored: Promise<void>;
  readonly #eventHandlers = new Set<(event: QmpEvent) => void>();
  readonly #changeHandlers = new Set<() => void>();
  readonly #ending = new AbortController();
  #process: ProcessIdentity | undefined;
  #wasSeen = false;
  #connection: QmpConnection | undefined;
  #opening: Promise<QmpConnection> | undefined;
  #toldMigration: { readonly status: MigrationStatus; readonly at: number } | undefined;
  #features: { readonly of: QmpConnection; readonly answer: Promise<Features> } | undefined;

  constructor(podUID: string, options: QemuOptions) {
    this.podUID = podUID;
    this.#options = options;
    this.#restored = this.#restore();
    // Whoever asks first is told of it.
    this.#restored.catch(() => undefined);
  }

  /**
   * Whether a process of this pod's run volume exists now, in this boot.
   * @throws RunVolumeError or ProcessesUnreadable when that cannot be told.
   */
  async presence(): Promise<'present' | 'absent'> {
    return (await this.#locate()) === undefined ? 'absent' : 'present';
  }

  /**
   * It has been present before, perhaps seen by an earlier run of the agent: absent and seen is gone for good. Known after
   * the first `presence()` or `monitor()`.
   */
  get wasSeen(): boolean {
    return this.#wasSeen;
  }

  /**
   * The open connection, or a new one. Aborting ends the waiting, not an attempt that others may wait for as well.
   * @throws QmpError: nobody is there, does not answer, or cannot be trusted; ProcessesUnreadable; the signal's reason.
   */
  async monitor(signal?: AbortSignal): Promise<QmpConnection> {
    signal?.throwIfAborted();
    if (this.#connection?.isOpen) return this.#connection;
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    return await unlessAborted(this.#opening, signal);
  }

  /** The migration's status, in or out, by an event of the open connection that is not older than 100 ms. */
  get justToldMigration(): MigrationStatus | undefined {
    const { status, at } = this.#toldMigration ?? { at: 0 };
    return performance.now() - at <= newsMilliseconds ? status : undefined;
  }

  /**
   * What this QEMU can do; asked once per connection. One that waits for a guest is asked what only a target needs.
   * @throws QmpError
   */
  async features(): Promise<Features> {
    const connection = await this.monitor();
    if (this.#features?.of === connection) return await this.#features.answer;
    const answer = connection
      .execute('query-status')
      .then(({ status }) => probe(connection, status === 'inmigrate' ? 'target' : 'source'));
    const asked = { of: connection, answer };
    this.#features = asked;
    answer.catch(() => {
      if (this.#features === asked) this.#features = undefined;
    });
    return await answer;
  }

  /** Events of whichever connection is open; between two of them events are lost, so look again at `onChange`. */
  onEvent(handler: (event: QmpEvent) => void): () => void {
    const own = (event: QmpEvent) => handler(event);
    this.#eventHandlers.add(own);
    return () => this.#eventHandlers.delete(own);
  }

  /** A connection was opened or has closed, or the process has ended. */
  onChange(handler: () => void): () => void {
    const own = () => handler();
    this.#changeHandlers.add(own);
    return () => this.#changeHandlers.delete(own);
  }

  /** Where its pod is reached, as its node has told it when it started; undefined when it has not, or nothing runs. */
  async podAddress(): Promise<string | undefined> {
    const process = await this.#locate();
    const address = process && variableOf(process, podAddressVariable);
    return address !== undefined && isIP(address) !== 0 ? address : undefined;
  }

  /**
   * The arguments of the running process.
   * @throws QemuAbsent
   */
  async argv(): Promise<readonly string[]> {
    const process = await this.#locate();
    const argv = process && argumentsOf(process);
    if (argv === undefined) throw new QemuAbsent(`pod ${this.podUID} has no QEMU on this node`);
    return argv;
  }

  /**
   * The folder it works in, to be held for one look only.
   * @throws RunVolumeError
   */
  runVolume(): RunVolume {
    return RunVolume.open(this.#options.podsDirectory, this.podUID);
  }

  /**
   * SIGKILL; returns when no process of this run volume is left.
   * @throws ProcessNotEnded after 10 s.
   */
  async kill(signal?: AbortSignal): Promise<void> {
    for (let process = await this.#locate(); process !== undefined; process = await this.#locate()) {
      this.#options.logger.info({ podUID: this.podUID, pid: process.pid }, 'Killing QEMU');
      await endProcess(process, killDeadlineMilliseconds, signal);
    }
  }

  /** Notices the end of a process that no connection tells of. Cheap: called every second. */
  look(): void {
    if (this.#process !== undefined && !isAlive(this.#process)) {
      this.#process = undefined;
      this.#changed();
    }
  }

  /** Lets go of QEMU, which runs on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort(new QemuAbsent(`pod ${this.podUID} is not looked after any more`));
    this.#eventHandlers.clear();
    this.#changeHandlers.clear();
    await this.#opening?.catch(() => undefined);
    await this.#connection?.[Symbol.asyncDispose]();
  }

  async #restore(): Promise<void> {
    this.#process = await this.#options.state.read<ProcessIdentity>(this.podUID, seenFile);
    this.#wasSeen = this.#process !== undefined;
  }

  async #locate(): Promise<ProcessIdentity | undefined> {
    await this.#restored;
    this.look();
    if (this.#process !== undefined) return this.#process;
    const found = this.#search();
    if (found === undefined) return undefined;
    // Noted before anybody acts on its being there: else its end could be taken for "not yet started".
    await this.#options.state.write(this.podUID, seenFile, found);
    this.#wasSeen = true;
    this.#process = found;
    return found;
  }

  #search(): ProcessIdentity | undefined {
    try {
      using volume = this.runVolume();
      return findQemu(volume.identity);
    } catch (error) {
      if (error instanceof RunVolumeError && error.code === 'RunVolumeMissing') return undefined;
      throw error;
    }
  }

  async #open(): Promise<QmpConnection> {
    const connection = await this.#connect(monitors[0] ?? '').catch(async (error: unknown) => {
      if (!(error instanceof QmpBusy)) throw error;
      return await this.#connect(monitors[1] ?? '');
    });
    connection.onEvent((event) => {
      if (event.name === 'MIGRATION') this.#toldMigration = { status: event.data.status, at: performance.now() };
      for (const handler of this.#eventHandlers) handler(event);
      if (event.name === 'SHUTDOWN' && this.#process !== undefined)
        void seeOut(this.#process, this.#options.logger, this.#ending.signal);
    });
    void connection.closed.then(() => this.#closed());
    this.#connection = connection;
    this.#changed();
    return connection;
  }

  async #connect(name: string): Promise<QmpConnection> {
    try {
      using socket = this.#socket(name);
      const process = await this.#locate();
      const owner = process && fileOwner(process);
      if (owner === undefined) throw new QmpConnectFailed(name, 'ESRCH');
      if (owner !== socket.uid)
        throw new RunVolumeError('RunVolumeUntrusted', `${name} belongs to user ${socket.uid}, QEMU runs as ${owner}`);
      return await QmpConnection.open(socket.path, { logger: this.#options.logger, signal: this.#ending.signal });
    } catch (cause) {
      if (!(cause instanceof RunVolumeError)) throw cause;
      const missing = cause.code === 'RunVolumeMissing';
      if (!missing) this.#options.logger.error({ err: cause, podUID: this.podUID }, 'Run volume refused');
      throw new QmpConnectFailed(name, missing ? 'ENOENT' : 'EACCES', { cause });
    }
  }

  #socket(name: string): HeldSocket {
    using volume = this.runVolume();
    return volume.socket(name);
  }

  async #closed(): Promise<void> {
    this.#connection = undefined;
    this.#toldMigration = undefined;
    this.#changed();
    // An ending QEMU closes its sockets before it gives its memory back.
    for (let looks = 0; looks < 100 && this.#process !== undefined && this.#connection === undefined; looks++) {
      this.look();
      await delay(10, undefined, { ref: false });
    }
  }

  #changed(): void {
    for (const handler of this.#changeHandlers) handler();
  }
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work;
  const aborted = Promise.withResolvers<never>();
  const whenAborted = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', whenAborted, { once: true });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', whenAborted);
  }
}
