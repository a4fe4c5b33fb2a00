/** What the effects of the source's agent do to the world. */
import { protocol } from '../../src/api/protocol.ts';
import type { Cause } from '../../src/migration/cause.ts';
import { causes, epoch, queues, type Words } from './objects.ts';
import { cancel, continueSource, continueSwitchover, endSource, migrate } from './qemu.ts';
import { type Micro, sourcePending, truePath } from './source-facts.ts';
import { Issued, Migration, Qemu, Run, runStates, type World } from './world.ts';

function words(fields: object, w: World): Words {
  const postCopy =
    w.source.migration === Migration['postcopy-active'] || w.source.migration === Migration['postcopy-paused'];
  return { side: 'source', attempt: w.source.attempt, fields: { ...fields }, postCopy };
}

/** What is only said can be said at once: what is queued is lost in a crash, and what is sent may never arrive. */
const isOnlySaid = new Set<Micro['kind']>([
  'publishPreflight',
  'publishWaiting',
  'publishVerdict',
  'publishDowntime',
  'handOver',
  'askTargetToRefuse',
]);

export function say(w: World): void {
  const { source } = w;
  while (source.pending !== 0 && isOnlySaid.has(sourcePending.first(source.pending).kind)) {
    const effect = sourcePending.first(source.pending);
    source.pending = sourcePending.rest(source.pending);
    act(w, effect, false);
  }
}

export function crash({ source }: World): void {
  source.pending = 0;
  source.queue = 0;
  source.heard = 0;
}

function publish(w: World, fields: object): void {
  const { source } = w;
  const before = source.queue === 0 ? {} : queues.at(source.queue).fields;
  source.queue = queues.of(words({ ...before, ...fields }, w));
}

const preflight = {
  qemuVersion: '7.2.0',
  machineType: 'q35',
  machineTypes: ['q35'],
  accelerator: 'tcg',
  cpuModel: 'qemu64',
  cpuFeatures: 'f',
  memoryBytes: 1,
  hardwareHash: 'h',
  blockers: [],
};

export const preflightOf = (runState: string) => ({ ...preflight, runState });

export function act(w: World, effect: Micro, encrypted: boolean): void {
  const { source } = w;
  switch (effect.kind) {
    case 'publishPreflight':
      // A QEMU that is not there cannot be read: the agent tries again.
      if (source.qemu === Qemu.up) publish(w, { protocol, preflight: preflightOf(runStates[source.run] ?? '') });
      return;
    case 'publishWaiting':
      publish(w, { reason: effect.cause?.reason, message: effect.cause?.message });
      return;
    case 'publishVerdict':
      publish(w, {
        ...(source.issued === Issued.no ? {} : { resumeTarget: source.issued === Issued.running }),
        verdict: effect.verdict,
        verdictAt: epoch,
        ...effect.cause,
      });
      return;
    case 'publishDowntime':
      publish(w, { downtimeMilliseconds: effect.milliseconds });
      return;
    case 'noteIssued':
      if (encrypted && truePath(w) !== 0) source.pending = 0;
      else source.issued = effect.resumeTarget ? Issued.running : Issued.stopped;
      return;
    case 'stamp':
      if (source.qemu !== Qemu.up) return;
      source.stamp = source.attempt;
      source.traces = source.attempt;
      return;
    case 'migrate':
      if (source.qemu !== Qemu.up) return;
      w.must(source.aborted === 0, 'migrate was issued for an attempt that had been given up');
      if (migrate(w, encrypted) === 'refused') source.cancel = causes.of(refused);
      return;
    case 'recordCancel':
      source.cancel = causes.of(effect.cause);
      return;
    case 'cancelTransfer':
      cancel(w);
      return;
    case 'cutStream':
      // Without effect in the handshake; elsewhere nothing hangs here.
      return;
    case 'askTargetToRefuse':
      source.asksRefusal = causes.of(effect.cause);
      return;
    case 'continueSwitchover':
      continueSwitchover(w);
      return;
    case 'continueGuest':
      continueSource(w);
      return;
    case 'recordTold':
      w.must(source.aborted === 0, 'the source tells after it had given up');
      w.must(
        source.run === Run.postmigrate ||
          source.migration === Migration['postcopy-active'] ||
          source.migration === Migration['postcopy-paused'] ||
          source.qemu !== Qemu.up,
        'rule 1: the source tells while it could still run by itself',
      );
      source.told = 1;
      return;
    case 'handOver':
      source.handover = source.issued === Issued.stopped ? 2 : 1;
      return;
    case 'recordAborted':
      w.must(source.told === 0, 'the source gives up after it had told');
      source.aborted = causes.of(effect.cause);
      return;
    case 'removeTraces':
      if (source.qemu === Qemu.up) source.traces = 0;
      source.tidied = 1;
      return;
    case 'endQemu':
      endSource(w, "the source's agent");
      return;
    case 'applyLimits':
      return;
  }
}

const refused: Cause = { reason: 'TransferFailed', message: 'QEMU refused to migrate.' };
