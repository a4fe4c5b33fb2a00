/** The target side: gathers facts from QEMU, the object and the state directory, asks `targetStep`, and does what it says. */
import type { VirtualMachineMigration } from '../../api/objects.ts';
import { attemptFiles } from '../../migration/attempt.ts';
import { sourceSide, targetSide } from '../../migration/evidence.ts';
import { type TargetEffect, type TargetFacts, type TargetQemu, targetStep } from '../../migration/target-step.ts';
import { capabilitiesFor, parametersFor } from '../../qmp/migration-settings.ts';
import type { AgentContext } from '../context.ts';
import { readPreflight } from '../preflight.ts';
import { endQemu } from './end-qemu.ts';
import { publishSide } from './publish.ts';
import { type QemuReading, readQemu } from './read-qemu.ts';

/** One migration whose target pod is on this node. */
export interface TargetScope {
  context: AgentContext;
  migration: VirtualMachineMigration;
  podUID: string;
  attempt: number;
}

type Executor<K extends TargetEffect['kind']> = (
  scope: TargetScope,
  effect: Extract<TargetEffect, { kind: K }>,
) => Promise<void>;

const executors: { [K in TargetEffect['kind']]: Executor<K> } = {
  async listen({ context, podUID }, { address }) {
    const qemu = context.qemus.get(podUID);
    const features = await qemu.features();
    const monitor = await qemu.monitor();
    await monitor.execute('migrate-set-capabilities', { capabilities: capabilitiesFor('target', features) });
    await monitor.execute('migrate-set-parameters', parametersFor(features));
    const host = address.includes(':') ? `[${address}]` : address;
    // The kernel chooses the port. A QEMU that stays after a failed load can still be asked for the reason.
    const failure = features.incomingExitOnError ? { 'exit-on-error': false } : {};
    await monitor.execute('migrate-incoming', { uri: `tcp:${host}:0`, ...failure });
  },
  async publishReady(scope, { endpoint }) {
    const preflight = await readPreflight(scope.context.qemus.get(scope.podUID));
    await publish(scope, { preflight, endpoint });
  },
  async recordContinued({ context, podUID, migration, attempt }) {
    await context.state.mark(podUID, attemptFiles(migration.metadata.uid, attempt).continued);
  },
  async continueGuest({ context, podUID }) {
    await (await context.qemus.get(podUID).monitor()).execute('cont');
  },
  async recordRefused({ context, podUID, migration, attempt }) {
    await context.state.mark(podUID, attemptFiles(migration.metadata.uid, attempt).refused);
  },
  async endQemu({ context, podUID }) {
    await endQemu(context.qemus.get(podUID));
  },
  async publishVerdict(scope, { verdict, cause }) {
    await publish(scope, { verdict, ...cause });
  },
};

/**
 * Works until there is nothing to do but wait.
 * @returns after how many milliseconds to look again, if nothing happens before.
 */
export async function workOnTarget(scope: TargetScope): Promise<number | undefined> {
  for (;;) {
    const current = scope.context.incoming.cache.get(
      `${scope.migration.metadata.namespace}/${scope.migration.metadata.name}`,
    );
    if (current?.metadata.uid !== scope.migration.metadata.uid) return undefined;
    const now = { ...scope, migration: current };
    const { effects, lookAgainAfter } = targetStep(await gatherFacts(now));
    for (const effect of effects) {
      const executor = executors[effect.kind] as Executor<typeof effect.kind>;
      await executor(now, effect);
    }
    if (effects.length === 0 || lookAgainAfter !== undefined) return lookAgainAfter;
  }
}

async function gatherFacts({ context, migration, podUID, attempt }: TargetScope): Promise<TargetFacts> {
  const status = migration.status ?? {};
  const source = sourceSide(status);
  const published = targetSide(status);
  const files = attemptFiles(migration.metadata.uid, attempt);
  const address = context.pods.cache.list().find(({ metadata }) => metadata.uid === podUID)?.status?.podIP;
  return {
    resumeTarget: source?.resumeTarget ?? true,
    sourceGone: status.abort?.attempt === attempt && status.abort.sourceGone === true,
    ...(source?.verdict === undefined ? {} : { sourceVerdict: source.verdict }),
    ...(address === undefined ? {} : { address }),
    published: {
      endpoint: published?.endpoint !== undefined,
      ...(published?.verdict === undefined ? {} : { verdict: published.verdict }),
    },
    journal: {
      continued: await context.state.has(podUID, files.continued),
      refused: await context.state.has(podUID, files.refused),
    },
    qemu: targetQemu(await readQemu(context.qemus.get(podUID))),
  };
}

function targetQemu(reading: QemuReading): TargetQemu {
  if (reading.presence !== 'present') return reading;
  const { status, migration } = reading;
  const port = Number(migration['socket-address']?.[0]?.port);
  return {
    presence: 'present',
    runState: status.status,
    migration: migration.status ?? 'none',
    ...(migration['error-desc'] === undefined ? {} : { error: migration['error-desc'] }),
    ...(Number.isInteger(port) ? { port } : {}),
  };
}

async function publish(scope: TargetScope, fields: Parameters<typeof publishSide<'target'>>[4]): Promise<void> {
  await publishSide(scope.context, scope.context.incoming, scope.migration, 'target', fields);
}
