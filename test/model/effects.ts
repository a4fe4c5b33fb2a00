/** What a party has decided and not done yet, as numbers, and how a trace tells it. */
import { Numbering } from './record.ts';

/** Lists of effects, numbered; 0 is the empty one. */
export class Pending<Effect extends { kind: string }> {
  readonly #lists = new Numbering<readonly Effect[]>();
  readonly #rest: number[] = [0];

  of(effects: readonly Effect[]): number {
    return effects.length === 0 ? 0 : this.#lists.of(effects);
  }

  list(number: number): readonly Effect[] {
    return number === 0 ? [] : this.#lists.at(number);
  }

  first(number: number): Effect {
    const [effect] = this.#lists.at(number);
    if (effect === undefined) throw new Error('an empty list has no number');
    return effect;
  }

  rest(number: number): number {
    const known = this.#rest[number];
    if (known !== undefined) return known;
    const rest = this.of(this.#lists.at(number).slice(1));
    this.#rest[number] = rest;
    return rest;
  }

  /** All of it, in words. */
  tell(number: number): string {
    return this.list(number).map(tellEffect).join(', then ');
  }
}

const phrases: Readonly<Record<string, string>> = {
  publishPreflight: 'tell what it is',
  publishWaiting: 'say what it waits for',
  noteIssued: 'note that it begins to migrate',
  stamp: "put the attempt's stamp into QEMU",
  migrate: 'send migrate to QEMU',
  recordCancel: 'note that the transfer is to be cancelled',
  cancelTransfer: 'send migrate_cancel',
  cutStream: 'cut the stream (yank)',
  askTargetToRefuse: "ask the target's agent to refuse",
  continueSwitchover: 'send migrate-continue',
  continueGuest: 'send cont',
  recordTold: 'note that it tells',
  handOver: "tell the target's agent directly that the source is complete",
  recordAborted: 'note that the attempt is given up',
  removeTraces: "remove the attempt's traces from QEMU",
  publishDowntime: 'publish the measured pause',
  endQemu: 'end its QEMU',
  applyLimits: 'apply new limits',
  listen: 'listen for the stream',
  publishReady: 'publish where it listens',
  recordContinued: 'note that it continues the guest',
  recordRefused: 'note that it refuses',
  stopGuest: 'stop the guest',
  addFinalizer: 'add the finalizer',
  lockVirtualMachine: 'lock the VM',
  createTargetPod: 'create the target pod',
  deleteMigration: 'delete the migration',
  moveOwnership: "move the VM's placement to the target",
  deletePod: 'delete a pod',
  releasePod: 'release a pod',
  unlockVirtualMachine: 'unlock the VM',
  removeFinalizer: 'let the object go',
};

export function tellEffect(effect: {
  kind: string;
  verdict?: string;
  pod?: { name: string };
  cause?: { reason: string };
}): string {
  const about = effect.cause === undefined ? '' : ` (${effect.cause.reason})`;
  if (effect.kind === 'publishVerdict') return `publish ${effect.verdict}${about}`;
  const named = effect.pod === undefined ? '' : ` ${effect.pod.name}`;
  return `${phrases[effect.kind] ?? effect.kind}${named}${about}`;
}
