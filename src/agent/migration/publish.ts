/** Writes the agent's own side of a migration's status, and nothing else of it. */
import { type VirtualMachineMigration, virtualMachineMigrations } from '../../api/objects.ts';
import type { VirtualMachineMigrationStatus } from '../../api/virtual-machine-migration.gen.ts';
import type { JsonPatchOperation } from '../../kube/client.ts';
import { ApiError } from '../../kube/errors.ts';
import type { AgentContext } from '../context.ts';

type SourceSide = NonNullable<VirtualMachineMigrationStatus['source']>;
type TargetSide = NonNullable<VirtualMachineMigrationStatus['target']>;
export type Sides = { source: SourceSide; target: TargetSide };
export type Side = keyof Sides;

/** What the API takes. QEMU's own words have no bound. */
const maxMessage = 4000;

/** The object has changed under the writer's feet: what was to be said must be thought over again. */
export class OutdatedWrite extends Error {
  readonly code = 'OutdatedWrite';
}

/**
 * A verdict is final, also for an agent that ended between its write and the answer, came back with an old object and found out less.
 * Only `Resumed` follows on another, `Completed`.
 */
function withoutTakingBack<Fields extends Partial<Sides[Side]>>(
  before: SourceSide | TargetSide,
  fields: Fields,
): Fields {
  const { verdict, ...rest } = fields;
  const isNew = before.verdict === undefined || verdict === before.verdict;
  if (verdict === undefined || isNew || (before.verdict === 'Completed' && verdict === 'Resumed')) return fields;
  const ofTheVerdict = new Set(['verdictAt', 'reason', 'message']);
  return Object.fromEntries(Object.entries(rest).filter(([name]) => !ofTheVerdict.has(name))) as Fields;
}

interface Extras {
  transfer?: VirtualMachineMigrationStatus['transfer'] | undefined;
  signal?: AbortSignal;
}

/**
 * Adds `fields` to the agent's side. The patch tests the object's UID, the attempt, and the sequence number of what this agent has
 * written last, so that a write that was delayed on its way is refused instead of undoing a later one. (A merge patch with
 * a wrong UID would be accepted.)
 * @throws OutdatedWrite when the object is not as it was read; the newest state is then in the cache.
 */
export async function publishSide<S extends Side>(
  context: Pick<AgentContext, 'client' | 'incoming' | 'outgoing'>,
  migration: VirtualMachineMigration,
  side: S,
  fields: Partial<Sides[S]>,
  { transfer, signal }: Extras = {},
): Promise<void> {
  const informer = side === 'source' ? context.outgoing : context.incoming;
  const { namespace, name, uid } = migration.metadata;
  const status = migration.status ?? {};
  const before: SourceSide | TargetSide | undefined = status[side];
  // The controller opens each side, with a sequence number, before it names the pod.
  if (before === undefined) throw new OutdatedWrite(`${side} of vmm/${name} has not been opened yet`);
  const { sequence } = before;
  const news = withoutTakingBack(before, fields);
  const { message } = news;
  const said = message === undefined ? {} : { message: message.slice(0, maxMessage) };
  const operations: JsonPatchOperation[] = [
    { op: 'test', path: '/metadata/uid', value: uid },
    { op: 'test', path: '/status/attempt', value: status.attempt },
    { op: 'test', path: `/status/${side}/sequence`, value: sequence },
    { op: 'replace', path: `/status/${side}`, value: { ...before, ...news, ...said, sequence: sequence + 1 } },
    ...(transfer === undefined ? [] : [{ op: 'add', path: '/status/transfer', value: transfer } as const]),
  ];
  const options = signal === undefined ? {} : { signal };
  try {
    const saved = await context.client.jsonPatch(virtualMachineMigrations, { namespace, name }, operations, {
      subresource: 'status',
      ...options,
    });
    informer.observe(saved);
  } catch (error) {
    if (!(error instanceof ApiError) || (error.status !== 422 && error.status !== 409)) throw error;
    const newest = await context.client.get(virtualMachineMigrations, { namespace, name }, options);
    informer.observe(newest);
    const same = newest.metadata.uid === uid && newest.status?.attempt === status.attempt;
    // Nothing has changed: it is the content that is refused, and would be refused again.
    if (same && newest.status?.[side]?.sequence === sequence) throw error;
    throw new OutdatedWrite(`${side} of vmm/${name} has changed since it was read`, { cause: error });
  }
}
