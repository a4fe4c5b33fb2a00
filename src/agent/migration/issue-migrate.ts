/** The order in which a source QEMU is told to migrate. */
import { attemptFiles, attemptStamp } from '../../migration/attempt.ts';
import type { Cause } from '../../migration/cause.ts';
import type { SourceEffect, TransferLimits } from '../../migration/source-step.ts';
import { QmpCommandError } from '../../qmp/errors.ts';
import { capabilitiesFor, parametersFor } from '../../qmp/migration-settings.ts';
import { removeTraces } from '../credentials/traces.ts';
import { returnedGuest } from '../returned-guest.ts';
import { isEncrypted, streamParameters } from './encryption.ts';
import type { Issued, SourceStepScope } from './source-scope.ts';

/**
 * The note of what the guest was doing, the settings, the attempt's stamp, and only then `migrate`. Whatever an earlier attempt has
 * set stays in the process, so everything is set, also to its default, and everything it has made is removed.
 */
export async function issueMigrate(
  scope: SourceStepScope,
  effect: Extract<SourceEffect, { kind: 'issueMigrate' }>,
): Promise<void> {
  const { context, migration, work } = scope;
  const { podUID, attempt, watch } = work;
  const { uid } = migration.metadata;
  // QEMU's main loop stands in the TLS handshake until the target answers: it has to be there in this very moment.
  if (isEncrypted(migration) && !(await work.targetWaits())) return;
  watch.begin();
  await context.state.clear(podUID, returnedGuest);
  const issued: Issued = { at: Date.now(), resumeTarget: effect.resumeTarget };
  await context.state.write(podUID, attemptFiles(uid, attempt).issued, issued);
  const qemu = context.qemus.get(podUID);
  const features = await qemu.features();
  const monitor = await qemu.monitor();
  const host = effect.plan.host.includes(':') ? `[${effect.plan.host}]` : effect.plan.host;
  const parameters = { ...parametersFor(features), ...limitParameters(effect.limits) };
  try {
    await removeTraces(qemu);
    const credentials = await streamParameters(context, migration, work, 'source');
    await monitor.execute('migrate-set-capabilities', { capabilities: capabilitiesFor('source', features) });
    await monitor.execute('migrate-set-parameters', {
      ...parameters,
      ...credentials,
      'tls-hostname': attemptStamp(uid, attempt),
    });
    await monitor.execute('migrate', { uri: `tcp:${host}:${effect.plan.port}` });
  } catch (error) {
    if (!(error instanceof QmpCommandError)) throw error;
    // It would refuse again: the next step finds this note, and either cancels what runs after all or gives the attempt up.
    const cause: Cause = { reason: 'TransferFailed', message: `QEMU refused to migrate: ${error.description}` };
    await context.state.write(podUID, attemptFiles(uid, attempt).cancel, cause);
  }
}

export function limitParameters({ maxDowntimeMilliseconds, maxBandwidthBytesPerSecond }: TransferLimits) {
  return { 'downtime-limit': maxDowntimeMilliseconds, 'max-bandwidth': maxBandwidthBytesPerSecond };
}
