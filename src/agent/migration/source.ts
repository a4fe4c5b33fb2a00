/** The source side: gathers facts from QEMU, the object and the state directory, asks `sourceStep`, and does what it says. */
import { setTimeout as delay } from 'node:timers/promises';
import { protocol } from '../../api/protocol.ts';
import { attemptFiles } from '../../migration/attempt.ts';
import type { Cause } from '../../migration/cause.ts';
import { type SourceEffect, sourceStep } from '../../migration/source-step.ts';
import { QmpCommandError } from '../../qmp/errors.ts';
import { readPreflight } from '../preflight.ts';
import { returnedGuest } from '../returned-guest.ts';
import { endQemu } from './end-qemu.ts';
import { issueMigrate, limitParameters } from './issue-migrate.ts';
import { gatherSourceFacts } from './source-facts.ts';
import type { SourceScope, SourceStepScope, Told } from './source-scope.ts';
import { tidyUp } from './tidy-up.ts';

type Executor<K extends SourceEffect['kind']> = (
  scope: SourceStepScope,
  effect: Extract<SourceEffect, { kind: K }>,
) => Promise<void> | void;

/** What the direct way has before the other way is taken as well. */
const headStartMilliseconds = 10;

const executors: { [K in SourceEffect['kind']]: Executor<K> } = {
  async publishPreflight({ context, migration, work }) {
    const keys = await context.credentials.of(work.podUID, migration.metadata.uid, work.attempt);
    const preflight = await readPreflight(context.qemus.get(work.podUID));
    const certificates = { stream: keys.stream.certificate, handover: keys.handover.certificate };
    work.publisher.say({ protocol, preflight, certificates });
  },
  publishWaiting: ({ work }, { cause }) =>
    work.publisher.say({ reason: cause?.reason, message: cause?.message } as { reason: string; message: string }),
  issueMigrate,
  async applyLimits({ context, work }, effect) {
    const monitor = await context.qemus.get(work.podUID).monitor();
    work.watch.parameters = undefined;
    await monitor.execute('migrate-set-parameters', limitParameters(effect.limits));
  },
  recordCancel: (scope, { cause }) => note(scope, 'cancel', cause),
  async cancelTransfer({ context, work }) {
    await (await context.qemus.get(work.podUID).monitor()).execute('migrate_cancel');
  },
  async cutStream({ context, work }) {
    const monitor = await context.qemus.get(work.podUID).monitor();
    await monitor.executeOutOfBand('yank', { instances: [{ type: 'migration' }] }).catch(unlessRefused);
  },
  askTargetToRefuse: ({ work }, { cause }) => work.askToRefuse(cause),
  async continueSwitchover({ context, work }) {
    const monitor = await context.qemus.get(work.podUID).monitor();
    await monitor.execute('migrate-continue', { state: 'pre-switchover' }).catch(unlessRefused);
  },
  async continueGuest({ context, work }) {
    const monitor = await context.qemus.get(work.podUID).monitor();
    await monitor.execute('cont');
    // The switches of the network may have learned the guest's address at the target already.
    await monitor.execute('announce-self', { initial: 50, max: 550, rounds: 5, step: 100 });
  },
  recordTold(scope) {
    const { stoppedAt } = scope.work.watch;
    const told: Told = stoppedAt === undefined ? {} : { stoppedAt };
    return note(scope, 'told', told);
  },
  async handOver({ work, issued }) {
    const answered = work.handOver(issued?.resumeTarget ?? false);
    // The way by the API server is longer, and on a node of few processors it would be in the way of this one.
    await Promise.race([answered, delay(headStartMilliseconds)]);
  },
  async recordAborted(scope, { cause }) {
    await noteReturnedGuest(scope);
    await note(scope, 'aborted', cause);
  },
  removeTraces: ({ context, migration, work }) => tidyUp(context, migration, work),
  async publishVerdict(scope, { verdict, cause }) {
    if (verdict === 'Resumed') await noteReturnedGuest(scope);
    const verdictAt = new Date().toISOString();
    scope.work.publisher.say({ ...account(scope), verdict, verdictAt, ...cause }, scope.work.watch.summary);
  },
  publishDowntime(scope, { milliseconds }) {
    // QEMU 7.2 says `completed` before it has worked out its own figure.
    scope.work.publisher.say({ ...account(scope), downtimeMilliseconds: milliseconds });
  },
  async endQemu({ context, work }) {
    await endQemu(context.qemus.get(work.podUID));
  },
};

/**
 * Works until there is nothing to do but wait.
 * @returns after how many milliseconds to look again, if nothing happens before.
 */
export async function workOnSource(scope: SourceScope): Promise<number | undefined> {
  for (;;) {
    const { context, migration: begun } = scope;
    const migration = context.outgoing.cache.get(`${begun.metadata.namespace}/${begun.metadata.name}`);
    if (migration?.metadata.uid !== begun.metadata.uid || migration.status?.attempt !== scope.work.attempt)
      return undefined;
    const { facts, reading, issued } = await gatherSourceFacts({ ...scope, migration });
    const { effects, lookAgainAfter } = sourceStep(facts);
    for (const effect of effects) {
      const executor = executors[effect.kind] as Executor<typeof effect.kind>;
      await executor({ ...scope, migration, reading, issued }, effect);
    }
    if (effects.length === 0 || lookAgainAfter !== undefined) return lookAgainAfter;
  }
}

async function note(
  { context, migration, work }: SourceScope,
  file: 'cancel' | 'told' | 'aborted',
  value: Cause | Told,
): Promise<void> {
  await context.state.write(work.podUID, attemptFiles(migration.metadata.uid, work.attempt)[file], value);
}

/** It has moved on by itself meanwhile; the next look tells where to. */
function unlessRefused(error: unknown): void {
  if (!(error instanceof QmpCommandError)) throw error;
}

/** The guest is back as it was; where that is standing still, QEMU calls it something else. */
async function noteReturnedGuest({ context, work, reading }: SourceStepScope): Promise<void> {
  if (reading.presence === 'present' && reading.status.status === 'postmigrate')
    await context.state.mark(work.podUID, returnedGuest);
}

/** What the source can tell of the transfer beside its verdict. */
function account({ work: { watch }, reading, issued }: SourceStepScope) {
  const downtime = reading.presence === 'present' ? reading.migration.downtime : undefined;
  return {
    ...(issued === undefined ? {} : { issuedAt: new Date(issued.at).toISOString(), resumeTarget: issued.resumeTarget }),
    ...(watch.firstByteAt === undefined ? {} : { firstByteAt: new Date(watch.firstByteAt).toISOString() }),
    ...(downtime === undefined ? {} : { qemuDowntimeMilliseconds: Math.round(downtime) }),
  };
}
