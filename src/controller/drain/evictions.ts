/** Answers evictions, and carries out what an answer brings about. In every replica: nothing here needs to be the leader's. */
import { type VirtualMachine, virtualMachineMigrations, virtualMachines } from '../../api/objects.ts';
import { isAlreadyExists, isInvalid, isNotFound } from '../../kube/errors.ts';
import type { ControllerContext } from '../context.ts';
import type { EvictionRequest } from './admission-review.ts';
import { answerEviction, type EvictionEffect } from './decide.ts';
import { evictionMigration } from './eviction-migration.ts';
import { gatherFacts } from './gather.ts';

type Executor<K extends EvictionEffect['kind']> = (
  context: ControllerContext,
  vm: VirtualMachine,
  effect: Extract<EvictionEffect, { kind: K }>,
  signal: AbortSignal,
) => Promise<void>;

const executors: { [K in EvictionEffect['kind']]: Executor<K> } = {
  async createMigration(context, vm, { name, podUID }, signal) {
    const { namespace } = vm.metadata;
    // In a cache that lags behind the VM may still be where it has just left.
    const current = await context.client.get(virtualMachines, { namespace, name: vm.metadata.name }, { signal });
    if (current.status?.placement?.podUID !== podUID) return;
    try {
      const created = await context.client.create(virtualMachineMigrations, evictionMigration(vm, podUID, name), {
        signal,
      });
      context.migrations.observe(created);
    } catch (error) {
      // Another replica was faster, or this one's cache lags behind.
      if (!isAlreadyExists(error)) throw error;
    }
  },

  async cancelMigration(context, { metadata: { namespace } }, { name, uid }, signal) {
    const patch = { metadata: { uid }, spec: { cancel: true } };
    try {
      const reference = { namespace, name };
      context.migrations.observe(
        await context.client.mergePatch(virtualMachineMigrations, reference, patch, { signal }),
      );
    } catch (error) {
      // It is gone, or another of that name is there: the next eviction sees what there is then.
      if (!isNotFound(error) && !isInvalid(error)) throw error;
    }
  },
};

/**
 * @returns why the eviction is refused for now; undefined when it is not, also when the pod is none of ours. What the API server
 * refuses to have done about it is part of the sentence.
 */
export async function answerRequest(
  context: ControllerContext,
  request: EvictionRequest,
  signal: AbortSignal,
): Promise<string | undefined> {
  const facts = gatherFacts(context, request);
  if (facts === undefined) return undefined;
  const answer = answerEviction(facts);
  const { virtualMachine: vm } = facts;
  const { name, namespace } = vm.metadata;
  const logger = context.logger.child({ VirtualMachine: { name, namespace }, pod: request.name });
  if (answer.kind === 'allow') {
    if (!request.dryRun) logger.info('Eviction allowed');
    return undefined;
  }
  const { message, effect } = answer;
  if (effect === undefined) return message;
  try {
    const executor = executors[effect.kind] as Executor<typeof effect.kind>;
    await executor(context, vm, effect, signal);
  } catch (error) {
    logger.error({ err: error, effect: effect.kind }, 'What an eviction asks for was not done');
    return `${message} That was not done: ${error instanceof Error ? error.message : String(error)}`;
  }
  logger.info({ effect: effect.kind, migration: effect.name }, 'Eviction refused');
  context.recorder.event(vm, 'Normal', 'EvictionRequested', `Pod ${request.name} is to be evicted: ${message}`);
  return message;
}
