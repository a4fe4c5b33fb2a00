/** The target side: gathers facts from QEMU, the object and the state directory, asks `targetStep`, and does what it says. */
import type { VirtualMachineMigration } from '../../api/objects.ts';
import { protocol } from '../../api/protocol.ts';
import { attemptFiles } from '../../migration/attempt.ts';
import type { Cause } from '../../migration/cause.ts';
import { heardDirectly, sourceGone, sourceSide, sourceWord, targetSide } from '../../migration/evidence.ts';
import { limits } from '../../migration/limits.ts';
import { type TargetEffect, type TargetFacts, type TargetQemu, targetStep } from '../../migration/target-step.ts';
import { capabilitiesFor, parametersFor } from '../../qmp/migration-settings.ts';
import type { AgentContext } from '../context.ts';
import { podOf } from '../pods-here.ts';
import { readPreflight } from '../preflight.ts';
import { isEncrypted, streamParameters } from './encryption.ts';
import { endQemu } from './end-qemu.ts';
import { type QemuReading, readQemu } from './read-qemu.ts';
import type { Heard, TargetAttempt } from './target-attempt.ts';
import { recordContinued, recordRefused } from './target-journal.ts';
import { tidyUp } from './tidy-up.ts';

/** One migration whose target pod is on this node. */
export interface TargetScope {
  readonly context: AgentContext;
  readonly migration: VirtualMachineMigration;
  readonly work: TargetAttempt;
}

type Executor<K extends TargetEffect['kind']> = (
  scope: TargetScope,
  effect: Extract<TargetEffect, { kind: K }>,
) => Promise<void>;

/** A QEMU that is to be killed need not be asked for long. */
const hastyMilliseconds = 50;

const executors: { [K in TargetEffect['kind']]: Executor<K> } = {
  async listen({ context, migration, work }, { address }) {
    const qemu = context.qemus.get(work.podUID);
    const features = await qemu.features();
    const monitor = await qemu.monitor();
    const credentials = await streamParameters(context, migration, work, 'target');
    await monitor.execute('migrate-set-capabilities', { capabilities: capabilitiesFor('target', features) });
    await monitor.execute('migrate-set-parameters', { ...parametersFor(features), ...credentials });
    const host = address.includes(':') ? `[${address}]` : address;
    // The kernel chooses the port. A QEMU that stays after a failed load can still be asked for the reason.
    const failure = features.incomingExitOnError ? { 'exit-on-error': false } : {};
    await monitor.execute('migrate-incoming', { uri: `tcp:${host}:0`, ...failure });
  },
  async publishReady({ context, migration, work }, { endpoint }) {
    const preflight = await readPreflight(context.qemus.get(work.podUID));
    const keys = await context.credentials.of(work.podUID, migration.metadata.uid, work.attempt);
    // Who is told where to call must not find the door shut; the step may have seen more of the source than its beginning.
    work.admitSource(migration, keys);
    const certificates = { stream: keys.stream.certificate, handover: keys.handover.certificate };
    const host = context.handoverAddress ?? podOf(context, work.podUID)?.status?.hostIP ?? endpoint.host;
    const handover = { host, port: context.handoverServer.port };
    work.publisher.say({ protocol, preflight, endpoint, certificates, handover });
  },
  recordContinued: ({ context, migration, work }) => recordContinued(context.state, attemptOf(migration, work)),
  async continueGuest({ context, work }) {
    await (await context.qemus.get(work.podUID).monitor()).execute('cont');
  },
  recordRefused: ({ context, migration, work }, { cause }) =>
    recordRefused(context.state, attemptOf(migration, work), cause),
  async endQemu({ context, work }, { now }) {
    const qemu = context.qemus.get(work.podUID);
    await (now ? qemu.kill() : endQemu(qemu));
  },
  removeTraces: ({ context, migration, work }) => tidyUp(context, migration, work),
  async stopGuest({ context, work }) {
    context.logger.error({ podUID: work.podUID }, 'Both sides say that they run the guest: stopping it here');
    await (await context.qemus.get(work.podUID).monitor()).execute('stop');
  },
  async publishVerdict({ work }, { verdict, cause }) {
    work.publisher.say({ verdict, ...cause });
    work.answer(verdict);
  },
};

/**
 * Works until there is nothing to do but wait.
 * @returns after how many milliseconds to look again, if nothing happens before.
 */
export async function workOnTarget(scope: TargetScope): Promise<number | undefined> {
  for (;;) {
    const { context, migration: begun, work } = scope;
    const migration = context.incoming.cache.get(`${begun.metadata.namespace}/${begun.metadata.name}`);
    if (migration?.metadata.uid !== begun.metadata.uid || migration.status?.attempt !== work.attempt) return undefined;
    const { effects, lookAgainAfter } = targetStep(await gatherFacts({ ...scope, migration }));
    for (const effect of effects) {
      const executor = executors[effect.kind] as Executor<typeof effect.kind>;
      await executor({ ...scope, migration }, effect);
    }
    if (effects.length === 0 || lookAgainAfter !== undefined) return lookAgainAfter;
  }
}

async function gatherFacts({ context, migration, work }: TargetScope): Promise<TargetFacts> {
  const { podUID, attempt, publisher, refusalAsked } = work;
  const status = migration.status ?? {};
  const source = sourceSide(status);
  const published = targetSide(status);
  const files = attemptFiles(migration.metadata.uid, attempt);
  const heard = await context.state.read<Heard>(podUID, files.heard);
  const patience = refusalAsked === undefined ? limits.inBandAnswer : hastyMilliseconds;
  const word = sourceWord(status) ?? (heard === undefined ? undefined : heardDirectly('Completed'));
  const gone = sourceGone(status);
  const isAnnounced = publisher.said('endpoint', published?.endpoint) !== undefined;
  // Of no use any more then, and the guest may stand still.
  const address = isAnnounced ? undefined : await addressOf(context, podUID);
  const refused = await context.state.read<Cause | true>(podUID, files.refused);
  const continued = await context.state.has(podUID, files.continued);
  const verdict = publisher.said('verdict', published?.verdict);
  // Also one that an earlier run of this agent has written: the source's agent may ask again.
  if (verdict !== undefined) work.answer(verdict);
  return {
    resumeTarget: source?.resumeTarget ?? heard?.resumeTarget ?? true,
    // Without a plan `migrate` was never issued, and with an abort it never will be.
    abandoned: status.abort?.attempt === attempt && status.plan === undefined,
    mayListen: !isEncrypted(migration) || source?.certificates !== undefined,
    ...(gone === undefined ? {} : { sourceGone: gone }),
    ...(word === undefined ? {} : { sourceWord: word }),
    ...(refusalAsked === undefined ? {} : { refusalAsked }),
    ...(address === undefined ? {} : { address }),
    published: {
      endpoint: isAnnounced,
      ...(verdict === undefined ? {} : { verdict }),
    },
    journal: {
      continued,
      tidied: await context.state.has(podUID, files.tidied),
      ...(refused === undefined ? {} : { refused }),
    },
    qemu: targetQemu(await readQemu(context.qemus.get(podUID), patience, !continued)),
  };
}

/** QEMU knows before the API server does. Whoever is told it wants to know where this agent is reached as well. */
async function addressOf(context: AgentContext, podUID: string): Promise<string | undefined> {
  const { podIP, hostIP = context.handoverAddress } = podOf(context, podUID)?.status ?? {};
  return podIP ?? (hostIP === undefined ? undefined : await context.qemus.get(podUID).podAddress());
}

export function targetQemu(reading: QemuReading): TargetQemu {
  if (reading.presence === 'unknown') return { presence: 'unknown' };
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

function attemptOf({ metadata }: VirtualMachineMigration, { podUID, attempt }: TargetAttempt) {
  return { podUID, migrationUID: metadata.uid, attempt };
}
