/**
 * The migrations that an agent worked on when it ended, as it had last seen them. One that comes back while the API server is away
 * goes on with these: they may be old, but every decision is sound on an old object, and the newer one replaces it when it comes.
 */
import type { VirtualMachineMigration } from '../../api/objects.ts';
import { isTerminal } from '../../api/phases.ts';
import { attemptFiles } from '../../migration/attempt.ts';
import type { AgentContext } from '../context.ts';
import { isMigrating } from '../pods-here.ts';
import { tidyUp } from './tidy-up.ts';

interface Attempt {
  podUID: string;
  attempt: number;
}

const written = new WeakMap<VirtualMachineMigration, true>();

/** Notes the object in the pod's state folder, if it is another than the last. */
export async function remember(
  { state }: AgentContext,
  migration: VirtualMachineMigration,
  { podUID, attempt }: Attempt,
): Promise<void> {
  if (written.has(migration)) return;
  await state.write(podUID, attemptFiles(migration.metadata.uid, attempt).object, migration);
  written.set(migration, true);
}

/** The attempt is over: what served it alone is removed, and what proves how it ended stays as long as the pod. */
export async function forget(
  context: AgentContext,
  migration: VirtualMachineMigration,
  { podUID, attempt }: Attempt,
): Promise<void> {
  const { state } = context;
  // Whoever had to tidy up may have ended too early, or come too late.
  await context.podQueue.run(podUID, () => tidyUpEnded(context, migration, { podUID, attempt }));
  const { object, credentials, heard } = attemptFiles(migration.metadata.uid, attempt);
  for (const file of [object, credentials, heard]) if (await state.has(podUID, file)) await state.clear(podUID, file);
}

/** Forgets the attempts that ended while this agent was away. When the informers are filled. */
export async function forgetEnded(context: AgentContext): Promise<void> {
  const current = [...context.outgoing.cache.list(), ...context.incoming.cache.list()];
  for await (const { podUID, migration } of remembered(context)) {
    const { metadata, status } = migration;
    const now = current.find(({ metadata: { uid } }) => uid === metadata.uid);
    const isUnderWay = now?.status?.attempt === status?.attempt && !isTerminal(now?.status?.phase);
    const attempt = { podUID, attempt: status?.attempt ?? 1 };
    if (isUnderWay) continue;
    await forget(context, migration, attempt);
  }
}

/** What another migration has begun to make is not touched; that one has removed all that it found. */
async function tidyUpEnded(context: AgentContext, migration: VirtualMachineMigration, attempt: Attempt): Promise<void> {
  const { podUID } = attempt;
  const isTidied = await context.state.has(podUID, attemptFiles(migration.metadata.uid, attempt.attempt).tidied);
  if (isMigrating(context, podUID) || isTidied || (await context.qemus.get(podUID).presence()) === 'absent') return;
  await tidyUp(context, migration, attempt);
}

/** Puts the remembered objects where the informers will put the current ones. Before these are started. */
export async function recall(context: AgentContext): Promise<void> {
  const { nodeName, outgoing, incoming } = context;
  for await (const { podUID, migration } of remembered(context)) {
    const { sourceNode, sourcePod, targetNode, targetPod } = migration.status ?? {};
    if (sourcePod?.uid === podUID && sourceNode === nodeName) outgoing.observe(migration);
    if (targetPod?.uid === podUID && targetNode === nodeName) incoming.observe(migration);
  }
}

async function* remembered({ state }: AgentContext) {
  for (const podUID of await state.podUIDs()) {
    for (const file of (await state.list(podUID)).filter((name) => name.startsWith('object-'))) {
      const migration = await state.read<VirtualMachineMigration>(podUID, file);
      if (migration !== undefined) yield { podUID, migration };
    }
  }
}
