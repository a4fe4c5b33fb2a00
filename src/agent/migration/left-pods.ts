/**
 * Judges the VM pods of this node that no migration under way accounts for: targets of attempts that are over, also when the
 * migration itself is long gone, and sources that have handed their guest over and were never told to end. A pod carries all
 * that this needs in its labels.
 */
import { labels } from '../../api/labels.ts';
import {
  type VirtualMachine,
  type VirtualMachineMigration,
  virtualMachineMigrations,
  virtualMachines,
} from '../../api/objects.ts';
import { isTerminal } from '../../api/phases.ts';
import { Controller, type ReconcileResult } from '../../kube/controller.ts';
import type { Pod } from '../../kube/core-resources.ts';
import { isNotFound } from '../../kube/errors.ts';
import { attemptFiles } from '../../migration/attempt.ts';
import type { Cause } from '../../migration/cause.ts';
import { limits } from '../../migration/limits.ts';
import { targetStep } from '../../migration/target-step.ts';
import type { AgentContext } from '../context.ts';
import { endQemu } from './end-qemu.ts';
import { readQemu } from './read-qemu.ts';
import { targetQemu } from './target.ts';
import { recordRefused } from './target-journal.ts';

/** What a target pod was made for. */
interface Origin {
  readonly migrationUID: string;
  readonly migrationName: string;
  readonly attempt: number;
}

const lookAgain: ReconcileResult = { requeueAfterMilliseconds: 1_000 };

/** Begins when the caches of this context are filled. */
export function startLeftPods(context: AgentContext): AsyncDisposable {
  const controller = new Controller({
    name: 'left-pods',
    concurrency: 4,
    logger: context.logger,
    maxBackoffMilliseconds: 10_000,
    reconcile: (key, signal) => judge(context, key, signal),
    observer: context.observerOf('left-pods'),
  });
  const enqueueAll = () => {
    for (const { metadata } of context.pods.cache.list()) controller.enqueue(`${metadata.namespace}/${metadata.name}`);
  };
  context.pods.onChange((key) => controller.enqueue(key));
  for (const informer of [context.incoming, context.outgoing]) {
    informer.onChange((_key, current) => {
      if (current === undefined || isTerminal(current.status?.phase)) enqueueAll();
    });
  }
  enqueueAll();
  controller.start();
  return controller;
}

async function judge(context: AgentContext, key: string, signal: AbortSignal): Promise<ReconcileResult> {
  const pod = context.pods.cache.get(key);
  const podUID = pod?.metadata.uid;
  if (pod === undefined || podUID === undefined || isWorkedOn(context, podUID)) return {};
  const vm = await virtualMachineOf(context, pod);
  // Of a VM that is gone the garbage collector removes the pods, and the node ends them.
  if (vm === undefined || vm.status?.placement?.podUID === podUID) return {};
  const origin = originOf(pod);
  // Its migration may be given up before it has named this node, of which nobody here is told.
  if (origin !== undefined && !(await isOver(context, pod, origin))) return lookAgain;
  return await context.podQueue.run(
    podUID,
    async () => {
      // Notes of a pod that is gone would stay.
      if (context.pods.cache.get(key)?.metadata.uid !== podUID) return {};
      return (await refuse(context, podUID, origin)) ?? (await endLoser(context, podUID));
    },
    signal,
  );
}

/** Whoever works on the migration sees to its pods. */
function isWorkedOn({ incoming, outgoing }: AgentContext, podUID: string): boolean {
  return [...incoming.cache.list(), ...outgoing.cache.list()].some(
    ({ status }) =>
      [status?.sourcePod?.uid, status?.targetPod?.uid].includes(podUID) &&
      (!isTerminal(status?.phase) || status?.owner !== undefined),
  );
}

function originOf({ metadata }: Pod): Origin | undefined {
  const { [labels.role]: role, [labels.migration]: migrationUID } = metadata.labels ?? {};
  if (role !== 'target' || migrationUID === undefined) return undefined;
  const { [labels.migrationName]: migrationName = '', [labels.attempt]: attempt } = metadata.labels ?? {};
  return { migrationUID, migrationName, attempt: Number(attempt) };
}

async function virtualMachineOf({ virtualMachines: here, client }: AgentContext, { metadata }: Pod) {
  const name = metadata.labels?.[labels.virtualMachine] ?? '';
  const known = here.cache.get(`${metadata.namespace}/${name}`);
  if (known?.status?.placement?.podUID === metadata.uid) return known;
  return await client
    .get<VirtualMachine>(virtualMachines, { namespace: metadata.namespace, name })
    .catch(unlessNotFound);
}

/** Nobody can tell this attempt's target to run any more. Asked of the API server: what a cache lacks may be too new for it. */
async function isOver({ client }: AgentContext, { metadata }: Pod, origin: Origin): Promise<boolean> {
  const reference = { namespace: metadata.namespace, name: origin.migrationName };
  const migration = await client
    .get<VirtualMachineMigration>(virtualMachineMigrations, reference)
    .catch(unlessNotFound);
  if (migration?.metadata.uid !== origin.migrationUID) return true;
  const { attempt = 0, phase, owner, abort, plan } = migration.status ?? {};
  const isGivenUp = abort?.attempt === origin.attempt && attempt === origin.attempt && plan === undefined;
  return attempt > origin.attempt || isGivenUp || (isTerminal(phase) && owner?.podUID !== metadata.uid);
}

function unlessNotFound(error: unknown): undefined {
  if (!isNotFound(error)) throw error;
}

/** @returns nothing when this pod has no business of a target any more: never had, or has continued its guest. */
async function refuse(
  context: AgentContext,
  podUID: string,
  origin: Origin | undefined,
): Promise<ReconcileResult | undefined> {
  if (origin === undefined) return undefined;
  const files = attemptFiles(origin.migrationUID, origin.attempt);
  if (await context.state.has(podUID, files.continued)) return undefined;
  const qemu = context.qemus.get(podUID);
  for (;;) {
    const refused = await context.state.read<Cause | true>(podUID, files.refused);
    const { effects, lookAgainAfter } = targetStep({
      resumeTarget: false,
      abandoned: true,
      mayListen: false,
      published: { endpoint: true },
      journal: { continued: false, tidied: true, ...(refused === undefined ? {} : { refused }) },
      qemu: targetQemu(await readQemu(qemu, limits.inBandAnswer)),
    });
    for (const effect of effects) {
      if (effect.kind === 'recordRefused') await recordRefused(context.state, { ...origin, podUID }, effect.cause);
      else if (effect.kind === 'endQemu') await endQemu(qemu);
      // Nobody is left to be told.
      else if (effect.kind === 'publishVerdict') return {};
    }
    if (effects.length === 0 || lookAgainAfter !== undefined) return lookAgain;
  }
}

/** The placement names another pod and this QEMU has handed its guest over: the two proofs that a source may be ended. */
async function endLoser(context: AgentContext, podUID: string): Promise<ReconcileResult> {
  const qemu = context.qemus.get(podUID);
  const reading = await readQemu(qemu, limits.inBandAnswer);
  if (reading.presence === 'gone') return {};
  if (reading.presence !== 'present') return lookAgain;
  const { status, migration } = reading;
  if (status.status === 'postmigrate' && migration.status === 'completed') await endQemu(qemu);
  else context.logger.warn({ podUID, runState: status.status }, 'A QEMU that does not own its VM is left alone');
  return {};
}
