/** What holds after every migration: the VM has lived on, or its memory was lost and it has begun another life. */
import { expect } from 'vitest';
import { assertNeverBothRunning, assertUnbroken, readHeartbeats } from '../guest/heartbeat.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { assertOneAfterAnother } from './consoles.ts';
import { podsRemembered, qemusBelow } from './leftovers.ts';
import type { TwoSides } from './qemu-watch.ts';
import type { System } from './system.ts';

/** One pod, one QEMU, and one unbroken life that goes on. */
export async function assertOneLife(
  system: System,
  virtualMachineName: string,
  recorder: HeartbeatRecorder,
): Promise<void> {
  const vm = await system.reached(virtualMachineName, 'Running');
  await onlyTheOwnerIsLeft(system, vm.status?.placement?.podUID);
  expect(await qemusBelow(system.cluster.directory)).toBe(1);
  await recorder.waitFor(/(?:T[0-9A-F]{8}\n[^T]*){2}/, AbortSignal.timeout(30_000));
  assertUnbroken(readHeartbeats(recorder.output));
}

/** A VM that starts again when its QEMU is lost, with a guest that keeps a migration busy. */
export function startRestartable(system: System, name: string): Promise<HeartbeatRecorder> {
  return system.startVirtualMachine(
    name,
    { totalMiB: 64, hotMiB: 4, dirtyMiBPerSecond: 2 },
    { restartPolicy: 'OnFailure' },
  );
}

/** The VM runs in a pod that is neither side's of its move, from an earlier count, and after both of them. */
export async function assertAnotherLife(
  system: System,
  virtualMachineName: string,
  recorder: HeartbeatRecorder,
  { source, target }: TwoSides,
): Promise<void> {
  const owner = await system.until(`vm/${virtualMachineName} runs in another pod`, async () => {
    const { phase, placement } = (await system.virtualMachine(virtualMachineName)).status ?? {};
    const isNew = ![source, target].some(({ pod }) => pod.metadata.uid === placement?.podUID);
    return phase === 'Running' && isNew ? placement?.podUID : undefined;
  });
  await onlyTheOwnerIsLeft(system, owner);
  expect(await qemusBelow(system.cluster.directory)).toBe(1);
  await recorder.waitFor(/T[0-9A-F]{8}/, AbortSignal.timeout(30_000));
  assertOneAfterAnother(recorder.output);
  const sides = [source, target].map(({ pod }) => pod.metadata.name);
  const ofTheMove = recorder.output.filter(({ side }) => sides.includes(side));
  const afterwards = recorder.output.filter(({ side }) => !sides.includes(side));
  assertNeverBothRunning(ofTheMove);
  // Not from 1: a console that is connected a moment late has missed the first beats.
  expect(readHeartbeats(afterwards).first).toBeLessThan(readHeartbeats(ofTheMove).last);
}

async function onlyTheOwnerIsLeft(system: System, owner: string | undefined): Promise<void> {
  await system.onlyTheOwnerIsLeft(owner, async () => {
    const pods = (await system.pods()).map(({ metadata }) => metadata.uid);
    return [...pods, ...(await podsRemembered(system.cluster))];
  });
}
