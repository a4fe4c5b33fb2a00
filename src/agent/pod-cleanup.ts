/** Lets go of what the agent keeps of a pod, when the pod is no more. */
import { isTerminal } from '../api/phases.ts';
import { Controller, type ReconcileResult } from '../kube/controller.ts';
import type { AgentContext } from './context.ts';
import { isMigrating, podOf } from './pods-here.ts';

const lookAgain: ReconcileResult = { requeueAfterMilliseconds: 10_000 };

/**
 * Keyed by pod UID: of pods whose objects are deleted, and of those that state files speak of and that were deleted while the
 * agent was away. A missing object proves nothing: what is noted of a pod stays as long as a process of it lives or
 * a migration may ask what has become of it.
 */
export async function startPodCleanup(context: AgentContext): Promise<AsyncDisposable> {
  const { pods, incoming, qemus, state, podQueue, logger } = context;

  const controller = new Controller({
    name: 'pod-cleanup',
    logger,
    reconcile: (podUID, signal) => podQueue.run(podUID, () => cleanUp(podUID), signal),
    observer: context.observerOf('pod-cleanup'),
  });

  async function cleanUp(podUID: string): Promise<ReconcileResult> {
    if (podOf(context, podUID) !== undefined) return {};
    if (isMigrating(context, podUID) || (await qemus.get(podUID).presence()) === 'present') return lookAgain;
    await qemus.release(podUID);
    await state.remove(podUID);
    return {};
  }

  pods.onChange((_key, current, previous) => {
    // A pod may have been replaced by another one of its name.
    const podUID = previous?.metadata.uid;
    if (podUID !== undefined && current?.metadata.uid !== podUID) controller.enqueue(podUID);
  });
  // Until then its target pod was kept in mind for it; a losing one is gone by then.
  incoming.onChange((_key, migration) => {
    const podUID = migration?.status?.targetPod?.uid;
    if (podUID !== undefined && isTerminal(migration?.status?.phase)) controller.enqueue(podUID);
  });
  for (const podUID of await state.podUIDs()) controller.enqueue(podUID);
  controller.start();
  return controller;
}
