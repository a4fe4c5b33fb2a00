/** The source side: gathers facts from QEMU, the object and the state directory, asks `sourceStep`, and does what it says. */
import type { VirtualMachineMigration } from '../../api/objects.ts';
import { parseQuantity } from '../../machine/quantity.ts';
import { attemptFiles, attemptStamp } from '../../migration/attempt.ts';
import { sourceSide, targetSide } from '../../migration/evidence.ts';
import { durationMilliseconds, limits } from '../../migration/limits.ts';
import {
  type Cause,
  type SourceEffect,
  type SourceFacts,
  type SourceQemu,
  sourceStep,
  type TransferLimits,
} from '../../migration/source-step.ts';
import { QmpCommandError } from '../../qmp/errors.ts';
import { capabilitiesFor, parametersFor } from '../../qmp/migration-settings.ts';
import type { AgentContext } from '../context.ts';
import { readPreflight } from '../preflight.ts';
import { returnedGuest } from '../returned-guest.ts';
import { endQemu } from './end-qemu.ts';
import { publishSide } from './publish.ts';
import { type QemuReading, readQemu } from './read-qemu.ts';
import type { TransferWatch } from './transfer-watch.ts';

/** One migration whose source pod is on this node. */
export interface SourceScope {
  context: AgentContext;
  migration: VirtualMachineMigration;
  podUID: string;
  attempt: number;
  watch: TransferWatch;
  /** Resolves when no progress write is under way any more: a final word must not be refused because of it. */
  progressWritten: () => Promise<void>;
}

/** The scope of one step: what was read for it is at hand for its effects. */
interface StepScope extends SourceScope {
  reading: QemuReading;
  issued: Issued | undefined;
}

/** What is remembered of the guest when `migrate` is issued. */
interface Issued {
  /** Milliseconds since the epoch. */
  at: number;
  resumeTarget: boolean;
}

/** What is remembered when the target is told: the start of the guest's pause, milliseconds since the epoch. */
interface Told {
  stoppedAt?: number;
}

type Executor<K extends SourceEffect['kind']> = (
  scope: StepScope,
  effect: Extract<SourceEffect, { kind: K }>,
) => Promise<void>;

const executors: { [K in SourceEffect['kind']]: Executor<K> } = {
  async publishPreflight(scope) {
    await publish(scope, { preflight: await readPreflight(scope.context.qemus.get(scope.podUID)) });
  },
  issueMigrate,
  async applyLimits({ context, podUID, watch }, effect) {
    const monitor = await context.qemus.get(podUID).monitor();
    watch.parameters = undefined;
    await monitor.execute('migrate-set-parameters', limitParameters(effect.limits));
  },
  async recordCancel({ context, podUID, migration, attempt }, { cause }) {
    await context.state.write(podUID, attemptFiles(migration.metadata.uid, attempt).cancel, cause);
  },
  async cancelTransfer({ context, podUID }) {
    await (await context.qemus.get(podUID).monitor()).execute('migrate_cancel');
  },
  async continueSwitchover({ context, podUID }) {
    const monitor = await context.qemus.get(podUID).monitor();
    await monitor.execute('migrate-continue', { state: 'pre-switchover' }).catch((error: unknown) => {
      // It has moved on by itself meanwhile; the next look tells where to.
      if (!(error instanceof QmpCommandError)) throw error;
    });
  },
  async continueGuest({ context, podUID }) {
    const monitor = await context.qemus.get(podUID).monitor();
    await monitor.execute('cont');
    // The switches of the network may have learned the guest's address at the target already.
    await monitor.execute('announce-self', { initial: 50, max: 550, rounds: 5, step: 100 });
  },
  async recordTold({ context, podUID, migration, attempt, watch }) {
    const told: Told = watch.stoppedAt === undefined ? {} : { stoppedAt: watch.stoppedAt };
    await context.state.write(podUID, attemptFiles(migration.metadata.uid, attempt).told, told);
  },
  async recordAborted({ context, podUID, migration, attempt, reading }, { cause }) {
    await noteReturnedGuest(context, podUID, reading);
    await context.state.write(podUID, attemptFiles(migration.metadata.uid, attempt).aborted, cause);
  },
  async publishVerdict(scope, { verdict, cause }) {
    if (verdict === 'Resumed') await noteReturnedGuest(scope.context, scope.podUID, scope.reading);
    await scope.progressWritten();
    const verdictAt = new Date().toISOString();
    await publish(scope, { ...account(scope), verdict, verdictAt, ...cause }, scope.watch.summary);
  },
  async publishDowntime(scope, { milliseconds }) {
    // QEMU 7.2 says `completed` before it has worked out its own figure.
    await publish(scope, { ...account(scope), downtimeMilliseconds: milliseconds });
  },
  async endQemu({ context, podUID }) {
    await endQemu(context.qemus.get(podUID));
  },
};

/**
 * Works until there is nothing to do but wait.
 * @returns after how many milliseconds to look again, if nothing happens before.
 */
export async function workOnSource(scope: SourceScope): Promise<number | undefined> {
  for (;;) {
    const current = scope.context.outgoing.cache.get(
      `${scope.migration.metadata.namespace}/${scope.migration.metadata.name}`,
    );
    if (current?.metadata.uid !== scope.migration.metadata.uid) return undefined;
    const { facts, reading, issued } = await gatherFacts({ ...scope, migration: current });
    const { effects, lookAgainAfter } = sourceStep(facts);
    for (const effect of effects) {
      const executor = executors[effect.kind] as Executor<typeof effect.kind>;
      await executor({ ...scope, migration: current, reading, issued }, effect);
    }
    if (effects.length === 0 || lookAgainAfter !== undefined) return lookAgainAfter;
  }
}

/**
 * The order matters: the note of what the guest was doing, the settings, the attempt's stamp, and only then `migrate`. Whatever
 * an earlier attempt has set stays in the process, so everything is set, also to its default.
 */
async function issueMigrate(scope: StepScope, effect: Extract<SourceEffect, { kind: 'issueMigrate' }>): Promise<void> {
  const { context, podUID, migration, attempt, watch } = scope;
  const { uid } = migration.metadata;
  watch.parameters = undefined;
  await context.state.clear(podUID, returnedGuest);
  const issued: Issued = { at: Date.now(), resumeTarget: effect.resumeTarget };
  await context.state.write(podUID, attemptFiles(uid, attempt).issued, issued);
  const qemu = context.qemus.get(podUID);
  const features = await qemu.features();
  const monitor = await qemu.monitor();
  const host = effect.plan.host.includes(':') ? `[${effect.plan.host}]` : effect.plan.host;
  const parameters = { ...parametersFor(features), ...limitParameters(effect.limits) };
  try {
    await monitor.execute('migrate-set-capabilities', { capabilities: capabilitiesFor('source', features) });
    await monitor.execute('migrate-set-parameters', { ...parameters, 'tls-hostname': attemptStamp(uid, attempt) });
    await monitor.execute('migrate', { uri: `tcp:${host}:${effect.plan.port}` });
  } catch (error) {
    if (!(error instanceof QmpCommandError)) throw error;
    // It would refuse again: the next step finds this note, and either cancels what runs after all or gives the attempt up.
    const cause: Cause = { reason: 'TransferFailed', message: `QEMU refused to migrate: ${error.description}` };
    await context.state.write(podUID, attemptFiles(uid, attempt).cancel, cause);
  }
}

/** The guest is back as it was; where that is standing still, QEMU calls it something else. */
async function noteReturnedGuest({ state }: AgentContext, podUID: string, reading: QemuReading): Promise<void> {
  if (reading.presence === 'present' && reading.status.status === 'postmigrate')
    await state.mark(podUID, returnedGuest);
}

function limitParameters({ maxDowntimeMilliseconds, maxBandwidthBytesPerSecond }: TransferLimits) {
  return { 'downtime-limit': maxDowntimeMilliseconds, 'max-bandwidth': maxBandwidthBytesPerSecond };
}

async function gatherFacts(scope: SourceScope) {
  const { context, migration, podUID, attempt, watch } = scope;
  const status = migration.status ?? {};
  const published = sourceSide(status);
  const target = targetSide(status);
  const { uid } = migration.metadata;
  const files = attemptFiles(uid, attempt);
  const reading = await readQemu(context.qemus.get(podUID));
  if (reading.presence === 'present') watch.update(reading.migration);
  const [issued, cancel, aborted, told] = await Promise.all([
    context.state.read<Issued>(podUID, files.issued),
    context.state.read<Cause>(podUID, files.cancel),
    context.state.read<Cause>(podUID, files.aborted),
    context.state.read<Told>(podUID, files.told),
  ]);
  const now = Date.now();
  const tookOver = target?.verdict === 'TookOver' && told?.stoppedAt !== undefined;
  const facts: SourceFacts = {
    now,
    ...(status.plan?.attempt === attempt ? { plan: status.plan.endpoint } : {}),
    ...(status.abort?.attempt === attempt ? { abort: status.abort as Cause } : {}),
    limits: wantedLimits(migration),
    timeoutMilliseconds: durationMilliseconds(migration.spec.transfer?.timeout ?? '30m'),
    ownerMoved: status.owner !== undefined && status.owner.podUID === status.targetPod?.uid,
    ...(target?.verdict === undefined ? {} : { targetVerdict: target.verdict }),
    published: {
      preflight: published?.preflight !== undefined,
      downtime: published?.downtimeMilliseconds !== undefined,
      ...(published?.verdict === undefined ? {} : { verdict: published.verdict }),
    },
    journal: {
      told: told !== undefined,
      ...(issued === undefined ? {} : { issued }),
      ...(cancel === undefined ? {} : { cancel }),
      ...(aborted === undefined ? {} : { aborted }),
    },
    qemu: await sourceQemu(scope, reading),
    handoverPathOpen: performance.now() - context.transport.lastAnswerAt() < limits.handoverPath,
    ...(tookOver ? { downtimeMilliseconds: Math.max(0, Math.round(now - (told.stoppedAt ?? now))) } : {}),
  };
  return { facts, reading, issued };
}

function wantedLimits({ spec }: VirtualMachineMigration): TransferLimits {
  const { maxDowntime = '300ms', maxBandwidth } = spec.transfer ?? {};
  return {
    maxDowntimeMilliseconds: durationMilliseconds(maxDowntime),
    maxBandwidthBytesPerSecond: maxBandwidth === undefined ? 0 : parseQuantity(maxBandwidth),
  };
}

async function sourceQemu(
  { context, podUID, migration, attempt, watch }: SourceScope,
  reading: QemuReading,
): Promise<SourceQemu> {
  if (reading.presence !== 'present') return reading;
  const monitor = await context.qemus.get(podUID).monitor();
  watch.parameters ??= await monitor.execute('query-migrate-parameters');
  const { 'downtime-limit': maxDowntimeMilliseconds, 'max-bandwidth': maxBandwidthBytesPerSecond } = watch.parameters;
  const { 'error-desc': error, status = 'none' } = reading.migration;
  return {
    presence: 'present',
    runState: reading.status.status,
    migration: status,
    stamped: watch.parameters['tls-hostname'] === attemptStamp(migration.metadata.uid, attempt),
    ...(error === undefined ? {} : { error }),
    ...(maxDowntimeMilliseconds === undefined || maxBandwidthBytesPerSecond === undefined
      ? {}
      : { limits: { maxDowntimeMilliseconds, maxBandwidthBytesPerSecond } }),
  };
}

/** What the source can tell of the transfer beside its verdict. */
function account({ watch, reading, issued }: StepScope) {
  const downtime = reading.presence === 'present' ? reading.migration.downtime : undefined;
  return {
    ...(issued === undefined ? {} : { issuedAt: new Date(issued.at).toISOString(), resumeTarget: issued.resumeTarget }),
    ...(watch.firstByteAt === undefined ? {} : { firstByteAt: new Date(watch.firstByteAt).toISOString() }),
    ...(downtime === undefined ? {} : { qemuDowntimeMilliseconds: Math.round(downtime) }),
  };
}

async function publish(
  scope: SourceScope,
  fields: Parameters<typeof publishSide<'source'>>[4],
  transfer?: Parameters<typeof publishSide>[5],
): Promise<void> {
  await publishSide(scope.context, scope.context.outgoing, scope.migration, 'source', fields, transfer);
}
