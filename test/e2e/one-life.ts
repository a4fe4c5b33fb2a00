/** What holds after every migration of a VM that was not lost, however it ended. */
import { expect } from 'vitest';
import { assertUnbroken, readHeartbeats } from '../guest/heartbeat.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { podsRemembered, qemusBelow } from './leftovers.ts';
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

async function onlyTheOwnerIsLeft(system: System, owner: string | undefined): Promise<void> {
  await system.until('only the owner is left', async () => {
    const pods = (await system.pods()).map(({ metadata }) => metadata.uid);
    const left = [...pods, ...(await podsRemembered(system.cluster))];
    return left.every((uid) => uid === owner) ? true : undefined;
  });
}
