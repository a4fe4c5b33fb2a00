import type { VirtualMachineMigration } from '../../api/objects.ts';
import { attemptFiles } from '../../migration/attempt.ts';
import type { AgentContext } from '../context.ts';
import { removeTraces } from '../credentials/traces.ts';

/**
 * Removes what the attempt has made in its QEMU. Never throws for want of that: the word on the attempt must not wait for it. It is
 * tried again while the migration lasts, and before the next one.
 */
export async function tidyUp(
  { qemus, state, logger }: AgentContext,
  { metadata }: VirtualMachineMigration,
  { podUID, attempt }: { readonly podUID: string; readonly attempt: number },
): Promise<void> {
  try {
    await removeTraces(qemus.get(podUID));
    await state.mark(podUID, attemptFiles(metadata.uid, attempt).tidied);
  } catch (error) {
    logger.error({ err: error, podUID }, 'Something of a migration is left in QEMU');
  }
}
