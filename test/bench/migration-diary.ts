import type { VirtualMachineMigration } from '../../src/api/objects.ts';
import type { Pod } from '../../src/kube/core-resources.ts';

/** What is waited for on the way, in the order in which it comes; each is true from some version of the object on. */
const steps: Record<string, (migration: VirtualMachineMigration) => boolean> = {
  'controller has it (finalizer)': ({ metadata }) => (metadata.finalizers ?? []).length > 0,
  'VM locked': ({ status }) => status?.sourcePod !== undefined,
  'target pod placed': ({ status }) => status?.targetPod?.uid !== undefined,
  'source checked': ({ status }) => status?.source?.preflight !== undefined,
  'target listens': ({ status }) => status?.target?.endpoint !== undefined,
  'plan written': ({ status }) => status?.plan !== undefined,
  'source told Completed': ({ status }) => status?.source?.verdict !== undefined,
  'target told TookOver': ({ status }) => status?.target?.verdict !== undefined,
  'ownership moved': ({ status }) => status?.owner !== undefined,
  succeeded: ({ status }) => status?.phase === 'Succeeded',
  'source cleaned': ({ status }) =>
    status?.conditions?.some(({ type, status: is }) => type === 'SourceCleaned' && is === 'True') ?? false,
};

const podSteps: Record<string, (pod: Pod) => boolean> = {
  'target pod created': () => true,
  'target pod bound': ({ spec }) => spec.nodeName !== undefined,
  'target pod has an address': ({ status }) => status?.podIP !== undefined,
  'target pod runs': ({ status }) => status?.phase === 'Running',
};

/** When a watcher saw each step of one migration, in milliseconds since its object was sent. */
export class MigrationDiary {
  readonly seen: Record<string, number> = {};
  /** By the machine's monotonic clock, milliseconds. */
  readonly #started = Number(process.hrtime.bigint()) / 1e6;
  /** By the machine's monotonic clock, milliseconds. */
  succeededAt: number | undefined;
  readonly #versions: VirtualMachineMigration[] = [];

  /** @param at by the machine's monotonic clock, milliseconds */
  note(step: string, at = Number(process.hrtime.bigint()) / 1e6): void {
    this.seen[step] ??= at - this.#started;
  }

  observe(migration: VirtualMachineMigration): void {
    this.#versions.push(migration);
    for (const [step, isReached] of Object.entries(steps)) if (isReached(migration)) this.note(step);
    if (migration.status?.phase === 'Succeeded') this.succeededAt ??= Number(process.hrtime.bigint()) / 1e6;
  }

  observeTargetPod(pod: Pod): void {
    for (const [step, isReached] of Object.entries(podSteps)) if (isReached(pod)) this.note(step);
  }

  /** Versions of the object that differ from the one before in nothing but how far the transfer has come. */
  progressWrites(): number {
    const rest = this.#versions.map((version) => JSON.stringify(version, withoutProgress));
    return rest.filter((text, index) => text === rest[index - 1]).length;
  }
}

const progressFields = new Set(['transfer', 'sequence', 'resourceVersion']);

/** `spec.transfer` never changes here. */
function withoutProgress(key: string, value: unknown): unknown {
  return progressFields.has(key) ? undefined : value;
}
