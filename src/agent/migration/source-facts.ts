/** What `sourceStep` decides on: the object, the state directory and QEMU, read now. */
import type { VirtualMachineMigration } from '../../api/objects.ts';
import { parseQuantity } from '../../machine/quantity.ts';
import { attemptFiles, attemptStamp } from '../../migration/attempt.ts';
import type { Cause } from '../../migration/cause.ts';
import { ownershipMoved, sourceSide, targetWord } from '../../migration/evidence.ts';
import { durationMilliseconds, limits } from '../../migration/limits.ts';
import { cancelOf } from '../../migration/obstacles.ts';
import { unspoken } from '../../migration/skew.ts';
import type { SourceFacts, SourceQemu, TransferLimits } from '../../migration/source-step.ts';
import { isEncrypted } from './encryption.ts';
import { type QemuReading, readQemu } from './read-qemu.ts';
import type { Issued, SourceScope, Told } from './source-scope.ts';

/** A QEMU that is to give the transfer up was waited for already, if it hangs: the guest stands still meanwhile. */
const hastyMilliseconds = 200;

export async function gatherSourceFacts(scope: SourceScope) {
  const { context, migration, work } = scope;
  const { podUID, attempt, watch, publisher } = work;
  const status = migration.status ?? {};
  const published = sourceSide(status);
  const { uid } = migration.metadata;
  const files = attemptFiles(uid, attempt);
  const [issued, cancel, aborted, told, tidied] = await Promise.all([
    context.state.read<Issued>(podUID, files.issued),
    context.state.read<Cause>(podUID, files.cancel),
    context.state.read<Cause>(podUID, files.aborted),
    context.state.read<Told>(podUID, files.told),
    context.state.has(podUID, files.tidied),
  ]);
  const patience = cancel === undefined ? limits.inBandAnswer : hastyMilliseconds;
  const reading = await readQemu(context.qemus.get(podUID), patience, told === undefined);
  if (reading.presence === 'present') watch.update(reading.migration);
  const now = Date.now();
  const word = work.heard ?? targetWord(status);
  const moved = ownershipMoved(status);
  if (word === 'TookOver') work.tookOverAt ??= now;
  const verdict = publisher.said('verdict', published?.verdict);
  const waiting = publisher.said('message', published?.message);
  const handoverPath = work.handoverPath();
  // A cancel is seen here as soon as by the controller, and needs none.
  const cancelled = cancelOf(migration, migration.metadata.deletionTimestamp !== undefined);
  const abort = status.abort?.attempt === attempt ? (status.abort as Cause) : cancelled;
  const downtime = downtimeOf(told, work.tookOverAt);
  const facts: SourceFacts = {
    now,
    encrypted: isEncrypted(migration),
    ...planOf(status, attempt),
    ...(abort === undefined ? {} : { abort }),
    limits: wantedLimits(migration),
    ...(moved === undefined ? {} : { ownershipMoved: moved }),
    ...(word === undefined ? {} : { targetWord: word }),
    published: {
      preflight: publisher.said('preflight', published?.preflight) !== undefined,
      downtime: publisher.said('downtimeMilliseconds', published?.downtimeMilliseconds) !== undefined,
      ...(waiting === undefined ? {} : { waiting }),
      ...(verdict === undefined ? {} : { verdict }),
    },
    journal: {
      told: told !== undefined,
      tidied,
      ...(issued === undefined ? {} : { issued }),
      ...(cancel === undefined ? {} : { cancel }),
      ...(aborted === undefined ? {} : { aborted }),
    },
    qemu: await sourceQemu(scope, reading),
    handoverPath,
    clock: {
      watchedSince: work.watchedSince,
      handshakeDone: watch.handshakeDone,
      timeoutMilliseconds: durationMilliseconds(migration.spec.transfer?.timeout ?? '30m'),
      ...(watch.lastByteAt === undefined ? {} : { lastByteAt: watch.lastByteAt }),
      ...watch.apiSince(handoverPath.api, now),
    },
    ...(downtime === undefined ? {} : { downtimeMilliseconds: downtime }),
  };
  return { facts, reading, issued };
}

function planOf({ plan }: NonNullable<VirtualMachineMigration['status']>, attempt: number) {
  if (plan?.attempt !== attempt) return {};
  const why = unspoken(plan.protocol);
  return { plan: plan.endpoint, ...(why === undefined ? {} : { unspoken: why }) };
}

function downtimeOf(told: Told | undefined, tookOverAt: number | undefined): number | undefined {
  if (told?.stoppedAt === undefined || tookOverAt === undefined) return undefined;
  return Math.max(0, Math.round(tookOverAt - told.stoppedAt));
}

function wantedLimits({ spec }: VirtualMachineMigration): TransferLimits {
  const { maxDowntime = '300ms', maxBandwidth } = spec.transfer ?? {};
  return {
    maxDowntimeMilliseconds: durationMilliseconds(maxDowntime),
    maxBandwidthBytesPerSecond: maxBandwidth === undefined ? 0 : parseQuantity(maxBandwidth),
  };
}

async function sourceQemu({ context, migration, work }: SourceScope, reading: QemuReading): Promise<SourceQemu> {
  if (reading.presence !== 'present') return reading;
  const { podUID, attempt, watch } = work;
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
