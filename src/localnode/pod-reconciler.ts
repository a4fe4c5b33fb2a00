/** Brings one pod's process, status and object to where they should be. Everything it needs is read anew each time. */
import type { KubeClient } from '../kube/client.ts';
import type { ReconcileResult } from '../kube/controller.ts';
import { type Pod, pods } from '../kube/core-resources.ts';
import { isConflict, isNotFound } from '../kube/errors.ts';
import type { Informer } from '../kube/informer.ts';
import type { Logger } from '../observability/logger.ts';
import { planLaunch } from './launch-plan.ts';
import type { PodRuntime } from './pod-runtime.ts';
import { isReported, type PodStatusPatch, podStatusPatch, rejectedStatusPatch } from './pod-status.ts';
import { type EndedProcess, type ProcessState, unknownExitCode } from './process-state.ts';
import { terminationSchedule } from './termination.ts';
import { unsupportedFields } from './unsupported-fields.ts';

/** Finds a pod in the informer by its UID: names come back, UIDs do not. */
export const uidIndex = { uid: (pod: Pod) => [pod.metadata.uid ?? ''] };

/** For ends that nothing tells of: a shim that was killed before its program. */
const pollMilliseconds = 5000;
/** A pod whose object is gone has nobody left to be polite for, but disks may have to be flushed. */
const orphanGraceMilliseconds = 2000;

export interface PodReconcilerOptions {
  readonly client: KubeClient;
  readonly informer: Informer<Pod>;
  readonly runtime: PodRuntime;
  /** The node's address, which its pods share. */
  readonly address: string;
  readonly logger: Logger;
}

export class PodReconciler {
  readonly #options: PodReconcilerOptions;
  /** When an orphan was asked to end, by UID; `performance.now()`. */
  readonly #orphans = new Map<string, number>();

  constructor(options: PodReconcilerOptions) {
    this.#options = options;
  }

  async reconcile(uid: string): Promise<ReconcileResult> {
    const { informer, runtime } = this.#options;
    const [pod] = informer.cache.byIndex('uid', uid);
    const process = await runtime.observe(uid);
    if (pod === undefined) return this.#endOrphan(uid, process);
    if (pod.metadata.deletionTimestamp !== undefined) return this.#terminate(pod, uid, process);
    if (process.state !== 'absent') return this.#follow(pod, process);
    return this.#launch(pod, uid);
  }

  async #launch(pod: Pod, uid: string): Promise<ReconcileResult> {
    if (hasEnded(pod)) return {};
    const unsupported = unsupportedFields(pod);
    if (unsupported.length > 0) {
      await this.#report(pod, rejectedStatusPatch(pod, unsupported, new Date()));
      return {};
    }
    const { runtime, address, logger } = this.#options;
    if (hasRun(pod)) return this.#follow(pod, vanished());
    const process = await runtime.start(uid, planLaunch(pod, { podFolder: runtime.folder(uid), address }));
    logger.info({ pod: pod.metadata.name, uid }, 'Started');
    return this.#follow(pod, process);
  }

  async #follow(pod: Pod, process: ProcessState): Promise<ReconcileResult> {
    await this.#reportProcess(pod, process);
    return process.state === 'running' ? { requeueAfterMilliseconds: pollMilliseconds } : {};
  }

  async #terminate(pod: Pod, uid: string, process: ProcessState): Promise<ReconcileResult> {
    const { client, runtime, logger } = this.#options;
    if (process.state === 'running') {
      await this.#reportProcess(pod, process);
      const { signalAt, killAt } = terminationSchedule(pod);
      const now = Date.now();
      if (now >= signalAt) runtime.signal(uid, now >= killAt ? 'SIGKILL' : 'SIGTERM');
      const next = [signalAt, killAt].find((moment) => moment > now) ?? now + pollMilliseconds;
      return { requeueAfterMilliseconds: Math.min(next - now, pollMilliseconds) };
    }
    if (process.state === 'absent' && !hasEnded(pod)) {
      runtime.forbidStart(uid);
      const settled = await runtime.observe(uid);
      if (settled.state !== 'absent') return this.#terminate(pod, uid, settled);
    }
    await this.#reportProcess(pod, process.state === 'absent' ? unstarted(pod) : process);
    runtime.remove(uid);
    // Held by a finalizer, the object stays, and is not to be deleted again. One that nothing holds any more is: an API server that died
    // between its two writes leaves such a pod for ever.
    const isHeld = (pod.metadata.finalizers ?? []).length > 0;
    if (pod.metadata.deletionGracePeriodSeconds !== 0 || !isHeld) {
      const { name, namespace } = pod.metadata;
      await client.delete(pods, { name, namespace }, { uid, gracePeriodSeconds: 0 }).catch(ignoreGone);
      logger.info({ pod: name, uid }, 'Removed');
    }
    return {};
  }

  #endOrphan(uid: string, process: ProcessState): ReconcileResult {
    const { runtime, logger } = this.#options;
    if (process.state === 'running') {
      const askedAt = this.#orphans.get(uid) ?? performance.now();
      const isLate = performance.now() - askedAt >= orphanGraceMilliseconds;
      this.#orphans.set(uid, askedAt);
      logger.info({ uid, signal: isLate ? 'SIGKILL' : 'SIGTERM' }, 'Ending a process whose pod is gone');
      runtime.signal(uid, isLate ? 'SIGKILL' : 'SIGTERM');
      return { requeueAfterMilliseconds: orphanGraceMilliseconds };
    }
    runtime.forbidStart(uid);
    this.#orphans.delete(uid);
    runtime.remove(uid);
    return {};
  }

  async #reportProcess(pod: Pod, process: ProcessState): Promise<void> {
    // An end is reported once; later, less may be known of it.
    if (hasEnded(pod)) return;
    await this.#report(pod, podStatusPatch(pod, process, this.#options.address, new Date()));
  }

  /** One write, which leaves alone what others say of the pod; none when everything is said already. */
  async #report(pod: Pod, status: PodStatusPatch): Promise<void> {
    if (isReported(pod.status, status)) return;
    const { client, informer, logger } = this.#options;
    const { uid, name, namespace } = pod.metadata;
    try {
      const updated = await client.transport.request<Pod>({
        method: 'PATCH',
        path: `/api/v1/namespaces/${namespace}/pods/${name}/status`,
        body: { metadata: { uid }, status },
        contentType: 'application/strategic-merge-patch+json',
        resourcePlural: 'pods',
      });
      informer.observe(updated);
      logger.info({ pod: name, uid, phase: status.phase }, 'Reported');
    } catch (error) {
      ignoreGone(error);
    }
  }
}

/** The pod is gone or another one has its name: the watch will tell. */
function ignoreGone(error: unknown): void {
  if (!isNotFound(error) && !isConflict(error)) throw error;
}

function hasEnded({ status }: Pod): boolean {
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}

function hasRun({ status }: Pod): boolean {
  return status?.containerStatuses?.[0]?.state?.running !== undefined;
}

function unstarted(pod: Pod): EndedProcess {
  if (hasRun(pod)) return vanished();
  return { state: 'ended', exitCode: unknownExitCode, reason: 'NeverStarted', finishedAt: new Date() };
}

/** It ran, and its folder is gone: that proves nothing about the process. */
function vanished(): EndedProcess {
  const message = "The pod's folder is gone; nobody has seen its process end.";
  const reason = 'ContainerStatusUnknown';
  return { state: 'ended', exitCode: unknownExitCode, reason, message, finishedAt: new Date() };
}
