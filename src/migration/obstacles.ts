/** Why the controller gives an attempt up before the source's agent does. */

import type { VirtualMachineMigration } from '../api/objects.ts';
import type { Cause } from './cause.ts';
import type { ControllerFacts } from './controller-facts.ts';
import { expired } from './deadlines.ts';
import { sourceSide, targetSide } from './evidence.ts';
import { limits } from './limits.ts';
import { notMigratable, preflightFailures } from './preflight.ts';
import { agree } from './skew.ts';

/** Whether the migration's owner has cancelled it. */
export function cancelOf({ spec }: VirtualMachineMigration, deleting: boolean): Cause | undefined {
  if (deleting) return { reason: 'Cancelled', message: 'The migration was deleted.' };
  return spec.cancel ? { reason: 'Cancelled', message: 'spec.cancel was set.' } : undefined;
}

/** What the owner of the VM or of the migration has come to want since it began. */
export function wish(facts: ControllerFacts, deleting: boolean): Cause | undefined {
  const { migration, virtualMachine: vm } = facts;
  const cancelled = cancelOf(migration, deleting);
  if (cancelled !== undefined) return cancelled;
  if (vm?.metadata.deletionTimestamp !== undefined)
    return { reason: 'VirtualMachineDeleted', message: 'The VM is being deleted.' };
  if (vm?.spec.powerState === 'Stopped')
    return { reason: 'VirtualMachineStopped', message: 'The VM was told to stop.' };
  return undefined;
}

/** What stands in the way. Once the transfer has been approved, the source's agent sees most of it first. */
export function obstacle(facts: ControllerFacts): Cause | undefined {
  return facts.migration.status?.plan === undefined ? beforeTheTransfer(facts) : duringTheTransfer(facts);
}

function beforeTheTransfer(facts: ControllerFacts): Cause | undefined {
  return placing(facts) ?? ended(facts) ?? checks(facts) ?? late(facts);
}

/** The target pod does not come to be, or finds no node. */
function placing({ migration, targetPod, agents, now }: ControllerFacts): Cause | undefined {
  const status = migration.status ?? {};
  const begunAt = Date.parse(status.timeline?.findLast((entry) => entry.phase === 'Scheduling')?.at ?? '');
  // The source's agent is not concerned, but its lease tells since when this controller has heard of the API server.
  const hasPassed = (since: number, limit: number) => expired(since, limit, now, [agents.source]);
  if (!targetPod.exists) {
    if (status.targetPod?.uid !== undefined)
      return { reason: 'TargetFailed', message: `The target pod ${status.targetPod.name} was removed.` };
    return hasPassed(begunAt, limits.targetCreated)
      ? { reason: 'TargetFailed', message: `The target pod could not be created. ${status.message ?? ''}` }
      : undefined;
  }
  if (targetPod.nodeName !== undefined || targetPod.deleting) return undefined;
  const { unschedulable } = targetPod;
  if (unschedulable !== undefined) {
    return hasPassed(unschedulable.since, limits.unschedulable)
      ? { reason: 'Unschedulable', message: `No node takes the target pod: ${unschedulable.message}` }
      : undefined;
  }
  return hasPassed(begunAt, limits.unscheduled)
    ? { reason: 'Unschedulable', message: 'No scheduler has looked at the target pod. Does the scheduler run?' }
    : undefined;
}

function ended({ migration, targetPod }: ControllerFacts): Cause | undefined {
  if (!targetPod.exists) return undefined;
  const { terminated, fenced, nodeName } = targetPod;
  if (terminated !== undefined) {
    const { exitCode, message } = terminated;
    const said = message === undefined || message === '' ? '' : `: ${message.trim()}`;
    return {
      reason: 'TargetFailed',
      message: `The target QEMU on ${nodeName} ended with exit code ${exitCode}${said}`,
    };
  }
  if (fenced !== undefined) return { reason: 'TargetFailed', message: `The target QEMU has ended: ${fenced}` };
  if (targetPod.deleting)
    return { reason: 'TargetFailed', message: `The target pod ${targetPod.name} is being deleted by somebody else.` };
  const target = targetSide(migration.status ?? {});
  return target?.verdict === undefined
    ? undefined
    : {
        reason: 'TargetFailed',
        message: `The target QEMU on ${nodeName} ended: ${target.message ?? 'it gave no reason'}`,
      };
}

function checks(facts: ControllerFacts): Cause | undefined {
  const status = facts.migration.status ?? {};
  const source = sourceSide(status)?.preflight;
  const target = targetSide(status)?.preflight;
  // What else an agent says may mean something else to it.
  const agreed = agreement(facts);
  if (typeof agreed !== 'number') return agreed;
  if (source !== undefined) {
    const blockers = notMigratable(source);
    if (blockers.length > 0) return { reason: 'NotMigratable', message: blockers.join(' ') };
  }
  if (source === undefined || target === undefined) return undefined;
  const failures = preflightFailures({ source, target });
  return failures.length > 0 ? { reason: 'PreflightFailed', message: failures.join(' ') } : undefined;
}

/** Of those who have spoken: by which protocol all work on it, or why they cannot. */
export function agreement({ migration: { status = {} }, protocol }: ControllerFacts): number | Cause {
  const agents = [
    { node: status.sourceNode ?? '', side: sourceSide(status) },
    { node: status.targetNode ?? '', side: targetSide(status) },
  ];
  return agree(
    protocol,
    agents.flatMap(({ node, side }) => (side?.preflight === undefined ? [] : [{ node, speaks: side.protocol }])),
  );
}

function late({ migration, targetPod, agents, now }: ControllerFacts): Cause | undefined {
  const status = migration.status ?? {};
  const placedAt = status.timeline?.findLast((entry) => entry.phase === 'Checking')?.at;
  if (placedAt === undefined || !targetPod.exists) return undefined;
  const [source, target] = [sourceSide(status), targetSide(status)];
  const waited = [
    ...(source?.preflight === undefined
      ? [{ agent: agents.source, lacks: `the agent on ${status.sourceNode} has not answered` }]
      : []),
    ...(target?.endpoint === undefined
      ? [{ agent: agents.target, lacks: `the agent on ${targetPod.nodeName} has not made the target ready` }]
      : []),
  ];
  const late = expired(
    Date.parse(placedAt),
    limits.targetReady,
    now,
    waited.map(({ agent }) => agent),
  );
  if (waited.length === 0 || !late) return undefined;
  const lacking = waited.map(({ lacks }) => lacks).join(', and ');
  return { reason: 'TargetNotReady', message: `After ${limits.targetReady / 1000} s ${lacking}.` };
}

function duringTheTransfer({ migration, targetPod, agents, now }: ControllerFacts): Cause | undefined {
  const status = migration.status ?? {};
  if (targetPod.fenced !== undefined)
    return { reason: 'TransferFailed', message: `The target QEMU has ended: ${targetPod.fenced}` };
  if (!targetPod.exists || targetPod.deleting) {
    const message = `The target pod ${status.targetPod?.name} is being deleted by somebody else.`;
    return { reason: 'TargetFailed', message };
  }
  const { reason, message, verdict } = sourceSide(status) ?? {};
  // Said without a verdict: what the source's agent waits for before it begins.
  if (reason === undefined || verdict !== undefined) return undefined;
  const begunAt = Date.parse(status.timeline?.findLast((entry) => entry.phase === 'Transferring')?.at ?? '');
  return expired(begunAt, limits.pathOpened, now, [agents.source, agents.target])
    ? ({ reason, message: message ?? '' } as Cause)
    : undefined;
}
