/** Why the controller gives an attempt up before the source's agent does. */
import type { ControllerFacts } from './controller-facts.ts';
import { sourceSide, targetSide } from './evidence.ts';
import { limits } from './limits.ts';
import { preflightFailures } from './preflight.ts';
import type { Cause } from './source-step.ts';

/** What the owner of the VM or of the migration has come to want since it began. */
export function wish(facts: ControllerFacts, deleting: boolean): Cause | undefined {
  const { migration, virtualMachine: vm } = facts;
  if (deleting) return { reason: 'Cancelled', message: 'The migration was deleted.' };
  if (migration.spec.cancel) return { reason: 'Cancelled', message: 'spec.cancel was set.' };
  if (vm?.metadata.deletionTimestamp !== undefined)
    return { reason: 'VirtualMachineDeleted', message: 'The VM is being deleted.' };
  if (vm?.spec.powerState === 'Stopped')
    return { reason: 'VirtualMachineStopped', message: 'The VM was told to stop.' };
  return undefined;
}

/** What stands in the way before the transfer has been approved. Later, only the source's agent can tell. */
export function obstacle(facts: ControllerFacts): Cause | undefined {
  const { migration, targetPod, now } = facts;
  const status = migration.status ?? {};
  if (status.plan !== undefined) return undefined;
  if (!targetPod.exists) {
    if (status.targetPod?.uid !== undefined)
      return { reason: 'TargetFailed', message: `The target pod ${status.targetPod.name} was removed.` };
    const begunAt = status.timeline?.find((entry) => entry.phase === 'Scheduling')?.at;
    if (begunAt === undefined || now - Date.parse(begunAt) < limits.targetCreated) return undefined;
    return { reason: 'TargetFailed', message: `The target pod could not be created. ${status.message ?? ''}` };
  }
  if (targetPod.terminated !== undefined) {
    const { exitCode, message } = targetPod.terminated;
    const said = message === undefined || message === '' ? '' : `: ${message.trim()}`;
    return {
      reason: 'TargetFailed',
      message: `The target QEMU on ${targetPod.nodeName} ended with exit code ${exitCode}${said}`,
    };
  }
  if (targetPod.deleting)
    return { reason: 'TargetFailed', message: `The target pod ${targetPod.name} is being deleted by somebody else.` };
  if (targetPod.nodeName === undefined) {
    const { unschedulable } = targetPod;
    if (unschedulable === undefined || now - unschedulable.since < limits.unschedulable) return undefined;
    return { reason: 'Unschedulable', message: `No node takes the target pod: ${unschedulable.message}` };
  }
  const target = targetSide(status);
  const source = sourceSide(status);
  if (target?.verdict !== undefined) {
    return {
      reason: 'TargetFailed',
      message: `The target QEMU on ${targetPod.nodeName} ended: ${target.message ?? 'it gave no reason'}`,
    };
  }
  if (target?.preflight !== undefined && source?.preflight !== undefined) {
    const failures = preflightFailures({ source: source.preflight, target: target.preflight });
    if (failures.length > 0) return { reason: 'PreflightFailed', message: failures.join(' ') };
  }
  const placedAt = status.timeline?.find((entry) => entry.phase === 'Checking')?.at;
  if (placedAt !== undefined && now - Date.parse(placedAt) > limits.targetReady) {
    const missing = [
      ...(source?.preflight === undefined ? [`the agent on ${status.sourceNode} has not answered`] : []),
      ...(target?.endpoint === undefined ? [`the agent on ${targetPod.nodeName} has not made the target ready`] : []),
    ].join(', and ');
    if (missing === '') return undefined;
    return { reason: 'TargetNotReady', message: `After ${limits.targetReady / 1000} s ${missing}.` };
  }
  return undefined;
}
