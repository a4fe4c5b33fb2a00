/** Works on the migrations whose source or target is this node: woken by their objects, their pods and their QEMUs. */
import type { VirtualMachineMigration } from '../../api/objects.ts';
import { isTerminal } from '../../api/phases.ts';
import { Controller, type ReconcileResult } from '../../kube/controller.ts';
import type { AgentContext } from '../context.ts';
import { ProgressPublisher } from './progress-publisher.ts';
import { OutdatedWrite } from './publish.ts';
import { workOnSource } from './source.ts';
import { workOnTarget } from './target.ts';
import { TransferWatch } from './transfer-watch.ts';

interface Attached {
  podUID: string;
  watch: TransferWatch;
  progress: ProgressPublisher;
  detach: () => void;
}

/** A QEMU that cannot be reached now is asked again soon: the guest may stand still. */
const maxBackoffMilliseconds = 1_000;

export function startMigrationAgent(context: AgentContext): AsyncDisposable {
  const attached = new Map<string, Attached>();

  const source = new Controller({
    name: 'migration-source',
    concurrency: 16,
    logger: context.logger,
    maxBackoffMilliseconds,
    reconcile: (key) => reconcile('source', key),
  });
  const target = new Controller({
    name: 'migration-target',
    concurrency: 16,
    logger: context.logger,
    maxBackoffMilliseconds,
    reconcile: (key) => reconcile('target', key),
  });

  function attach(side: 'source' | 'target', key: string, podUID: string): Attached {
    const id = `${side} ${key}`;
    const known = attached.get(id);
    if (known?.podUID === podUID) return known;
    known?.detach();
    const queue = side === 'source' ? source : target;
    const qemu = context.qemus.get(podUID);
    const watch = new TransferWatch();
    const stopEvents = qemu.onEvent((event) => {
      watch.observe(event);
      if (event.name !== 'MIGRATION_PASS') queue.enqueue(key);
    });
    const stopChanges = qemu.onChange(() => queue.enqueue(key));
    const detach = () => {
      stopEvents();
      stopChanges();
      attached.delete(id);
    };
    const fresh = { podUID, watch, progress: new ProgressPublisher(context, key), detach };
    attached.set(id, fresh);
    return fresh;
  }

  async function reconcile(side: 'source' | 'target', key: string): Promise<ReconcileResult> {
    const informer = side === 'source' ? context.outgoing : context.incoming;
    const migration = informer.cache.get(key);
    const work = migration && workOf(side, migration, context);
    if (migration === undefined || work === undefined) {
      attached.get(`${side} ${key}`)?.detach();
      return {};
    }
    const { podUID, attempt } = work;
    const { watch, progress } = attach(side, key, podUID);
    const scope = { context, migration, podUID, attempt };
    try {
      const lookAgainAfter = await context.podQueue.run(podUID, () =>
        side === 'source'
          ? workOnSource({ ...scope, watch, progressWritten: () => progress.idle() })
          : workOnTarget(scope),
      );
      if (side === 'source' && migration.status?.plan !== undefined) progress.tick(watch);
      return lookAgainAfter === undefined ? {} : { requeueAfterMilliseconds: lookAgainAfter };
    } catch (error) {
      // The newest state is in the cache already.
      if (error instanceof OutdatedWrite) return { requeueAfterMilliseconds: 1 };
      throw error;
    }
  }

  context.outgoing.onChange((key) => source.enqueue(key));
  context.incoming.onChange((key) => target.enqueue(key));
  context.pods.onChange((_key, current, previous) => {
    const podUID = (current ?? previous)?.metadata.uid;
    for (const [id, entry] of attached) {
      if (entry.podUID !== podUID) continue;
      const [side, key = ''] = id.split(' ');
      (side === 'source' ? source : target).enqueue(key);
    }
  });
  source.start();
  target.start();

  return {
    async [Symbol.asyncDispose]() {
      await source[Symbol.asyncDispose]();
      await target[Symbol.asyncDispose]();
      for (const { detach } of [...attached.values()]) detach();
    },
  };
}

/** The pod this node has to work on, or nothing: not placed yet, or over and cleaned. */
function workOf(
  side: 'source' | 'target',
  { status }: VirtualMachineMigration,
  context: AgentContext,
): { podUID: string; attempt: number } | undefined {
  const podUID = (side === 'source' ? status?.sourcePod : status?.targetPod)?.uid;
  const { attempt } = status ?? {};
  if (podUID === undefined || attempt === undefined) return undefined;
  const sourceMustEnd = side === 'source' && status?.owner !== undefined;
  const podExists = () => context.pods.cache.list().some(({ metadata }) => metadata.uid === podUID);
  if (isTerminal(status?.phase) && !(sourceMustEnd && podExists())) return undefined;
  return { podUID, attempt };
}
