import { checkedPodUID } from '../pod-uid.ts';
import { Qemu, type QemuOptions } from './qemu.ts';

const lookEveryMilliseconds = 1000;

/** The QEMUs of this node that somebody asked about, one object per pod. Ending it lets go of them; they run on. */
export class QemuRegistry implements AsyncDisposable {
  readonly #options: QemuOptions;
  readonly #qemus = new Map<string, Qemu>();
  readonly #timer: NodeJS.Timeout;

  constructor(options: QemuOptions) {
    this.#options = options;
    this.#timer = setInterval(() => {
      for (const qemu of this.#qemus.values()) qemu.look();
    }, lookEveryMilliseconds).unref();
  }

  /**
   * Touches nothing yet: the pod's QEMU may not have started, or may have ended.
   * @throws InvalidPodUID
   */
  get(podUID: string): Qemu {
    const known = this.#qemus.get(podUID);
    if (known !== undefined) return known;
    const fresh = new Qemu(checkedPodUID(podUID), this.#options);
    this.#qemus.set(podUID, fresh);
    return fresh;
  }

  /** Closes the connection and forgets the pod's QEMU. */
  async release(podUID: string): Promise<void> {
    const qemu = this.#qemus.get(podUID);
    this.#qemus.delete(podUID);
    await qemu?.[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all([...this.#qemus.keys()].map((podUID) => this.release(podUID)));
  }
}
