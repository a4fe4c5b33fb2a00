import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { assertUnbroken, readHeartbeats } from '../guest/heartbeat.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { assertOneAfterAnother } from './consoles.ts';
import { podsRemembered, qemusBelow } from './leftovers.ts';
import { System } from './system.ts';

let system: System;
beforeAll(async () => {
  system = await System.start();
});
afterAll(() => system?.[Symbol.asyncDispose]());

/** Whatever a VM's life was: when it is deleted nothing of it is left. */
afterEach(async () => {
  const { cluster } = system;
  await cluster.kubectl('delete', 'vm,vmm', '--all', '--timeout=60s');
  await system.until('nothing is left', async () => {
    const left = [...(await system.pods()), ...(await podsRemembered(cluster))].length;
    return left + (await qemusBelow(cluster.directory)) === 0 ? true : undefined;
  });
});

/** The guest was told to power down by its power button (B), and did so itself (Q). */
const poweredDown = /B\n(?:[TS].*\n)*Q\n/;

function printed({ output }: HeartbeatRecorder): string {
  return output.map(({ text }) => text).join('');
}

async function pidOf(name: string): Promise<number> {
  const { placement } = (await system.virtualMachine(name)).status ?? {};
  const pod = (await system.pods()).find(({ metadata }) => metadata.uid === placement?.podUID);
  if (pod === undefined) throw new Error(`vm/${name} has no pod`);
  return await system.pidOf(pod);
}

describe('what the owner of a VM asks for', () => {
  test('applied, it runs, and kubectl tells where', async () => {
    await system.startVirtualMachine('web');
    const { metadata, status } = await system.virtualMachine('web');
    const { nodeName = '', podName = '' } = status?.placement ?? {};
    const columns = async (...options: string[]) =>
      (await system.cluster.kubectl('get', 'vm', ...options))
        .trim()
        .split(/\n/)
        .map((line) => line.split(/\s+/));
    const age = expect.stringMatching(/^\d+s$/);
    expect(await columns()).toEqual([
      ['NAME', 'PHASE', 'NODE', 'MIGRATABLE', 'AGE'],
      ['web', 'Running', nodeName, 'True', age],
    ]);
    expect(await columns('-o', 'wide')).toEqual([
      ['NAME', 'PHASE', 'NODE', 'MIGRATABLE', 'CPU', 'MEMORY', 'POD', 'MACHINE', 'AGE'],
      ['web', 'Running', nodeName, 'True', '1', '32Mi', podName, expect.stringMatching(/^pc-q35-\d/), age],
    ]);
    expect(status?.observedGeneration).toBe(metadata.generation);
    await system.cluster.kubectl('wait', '--for=condition=Ready', `pod/${podName}`, '--timeout=30s');
  });

  test('paused, the guest stands still; continued, it counts on', async () => {
    const recorder = await system.startVirtualMachine('web');
    await system.change('web', { powerState: 'Paused' });
    const { status } = await system.reached('web', 'Paused');
    expect(status?.guest).toMatchObject({ runState: 'paused', running: false });
    const before = printed(recorder);
    await system.virtualMachine('web'); // takes kubectl longer than ten heartbeats
    expect(printed(recorder)).toBe(before);
    await system.change('web', { powerState: 'Running' });
    await system.reached('web', 'Running', 1);
    assertUnbroken(readHeartbeats(recorder.output));
  });

  test('stopped, the guest is powered down by ACPI; started, it boots in another pod', async () => {
    const recorder = await system.startVirtualMachine('web');
    await system.change('web', { powerState: 'Stopped' });
    const stopped = await system.reached('web', 'Stopped');
    expect(printed(recorder)).toMatch(poweredDown);
    expect(stopped.status?.placement).toEqual({ generation: 1 });
    expect(stopped.status?.lastEnd).toMatchObject({ podName: 'web-1', reason: 'StoppedOnRequest', exitCode: 0 });
    expect(await qemusBelow(system.cluster.directory)).toBe(0);
    await system.change('web', { powerState: 'Running' });
    const { status } = await system.reached('web', 'Running', 2);
    expect(status?.restarts).toBeUndefined();
    assertOneAfterAnother(recorder.output);
  });

  test('stopped while it is paused, the guest is continued to power itself down', async () => {
    const recorder = await system.startVirtualMachine('web');
    await system.change('web', { powerState: 'Paused' });
    await system.reached('web', 'Paused');
    await system.change('web', { powerState: 'Stopped' });
    await system.reached('web', 'Stopped');
    expect(printed(recorder)).toMatch(poweredDown);
  });

  test('a guest that ignores the power button is ended after its grace period', async () => {
    const recorder = await system.startVirtualMachine(
      'deaf',
      { obeyPowerButton: false },
      { terminationGracePeriodSeconds: 2 },
    );
    const pressed = recorder.waitFor(/B\n/, AbortSignal.timeout(30_000));
    await system.change('deaf', { powerState: 'Stopped' });
    await pressed;
    const { status } = await system.reached('deaf', 'Stopped');
    expect(printed(recorder)).not.toContain('Q\n');
    expect(status?.lastEnd?.reason).toBe('StoppedOnRequest');
    const asked = Date.parse(status?.guest?.powerDownRequestedAt ?? '');
    expect(Date.parse(status?.lastEnd?.at ?? '') - asked).toBeGreaterThanOrEqual(2_000);
  });

  test('deleted, the guest is powered down first', async () => {
    const recorder = await system.startVirtualMachine('web');
    await system.cluster.kubectl('delete', 'vm', 'web', '--timeout=30s');
    expect(printed(recorder)).toMatch(poweredDown);
    expect(await qemusBelow(system.cluster.directory)).toBe(0);
  });
});

describe('what happens to a VM', () => {
  test('its guest powers itself off: restartPolicy Always starts it again', async () => {
    const recorder = await system.startVirtualMachine('web');
    recorder.send('web-1', 'q');
    const { status } = await system.reached('web', 'Running', 2);
    expect(status).toMatchObject({
      restarts: 1,
      lastEnd: { podName: 'web-1', reason: 'GuestPoweredOff', exitCode: 0 },
    });
    assertOneAfterAnother(recorder.output);
  });

  test.each(['OnFailure', 'Never'])(
    'its guest powers itself off: restartPolicy %s leaves it to its owner',
    async (restartPolicy) => {
      const recorder = await system.startVirtualMachine('web', {}, { restartPolicy });
      recorder.send('web-1', 'q');
      const { status } = await system.reached('web', 'Stopped');
      expect(status?.lastEnd).toMatchObject({ reason: 'GuestPoweredOff', exitCode: 0 });
      expect(status?.message).toContain('set spec.powerState to Stopped, then to Running');
      await system.change('web', { powerState: 'Stopped' });
      await system.until('the wish is seen', async () =>
        (await system.virtualMachine('web')).status?.message === undefined ? true : undefined,
      );
      await system.change('web', { powerState: 'Running' });
      await system.reached('web', 'Running', 2);
      assertOneAfterAnother(recorder.output);
    },
  );

  test.each(['Always', 'OnFailure'])('its QEMU is killed: restartPolicy %s starts it again', async (restartPolicy) => {
    const recorder = await system.startVirtualMachine('web', {}, { restartPolicy });
    process.kill(await pidOf('web'), 'SIGKILL');
    const { status } = await system.reached('web', 'Running', 2);
    expect(status).toMatchObject({ restarts: 1, lastEnd: { podName: 'web-1', reason: 'QemuFailed', exitCode: 137 } });
    expect(status?.lastEnd?.message).toMatch(/^QEMU on node-[ab] ended with exit code 137/);
    assertOneAfterAnother(recorder.output);
    await system.until('the events are written', async () => {
      const story = await system.cluster.kubectl('describe', 'vm', 'web');
      return /Warning\s+QemuFailed/.test(story) && /Normal\s+Restarting/.test(story) ? true : undefined;
    });
  });

  test('its QEMU is killed: restartPolicy Never leaves it Failed', async () => {
    await system.startVirtualMachine('web', {}, { restartPolicy: 'Never' });
    process.kill(await pidOf('web'), 'SIGKILL');
    const { status } = await system.reached('web', 'Failed');
    expect(status?.message).toMatch(/ended with exit code 137.* restartPolicy Never leaves the VM down/);
    expect(status?.conditions).toContainEqual(expect.objectContaining({ type: 'Ready', reason: 'QemuFailed' }));
  });

  test('its pod is deleted by hand: the guest is powered down, and starts again', async () => {
    const recorder = await system.startVirtualMachine('web');
    await system.cluster.kubectl('delete', 'pod', 'web-1', '--timeout=30s');
    expect(printed(recorder)).toMatch(poweredDown);
    const { status } = await system.reached('web', 'Running', 2);
    expect(status).toMatchObject({ restarts: 1, lastEnd: { podName: 'web-1', reason: 'PodDeleted', exitCode: 0 } });
    assertOneAfterAnother(recorder.output);
  });
});

describe('what happens to a VM while it migrates', () => {
  let recorder: HeartbeatRecorder;
  beforeEach(async () => {
    recorder = await system.startVirtualMachine('web', { totalMiB: 64, hotMiB: 4, dirtyMiBPerSecond: 2 });
    await system.migrate('web-1', 'web', { transfer: { maxBandwidth: '10Mi' } });
    await system.bytesFlow('web-1');
  });

  /** The guest was heard from its first pod only, with its memory intact. */
  function assertNeverMoved(): void {
    const report = readHeartbeats(recorder.output);
    assertUnbroken(report);
    expect(report.moves).toEqual([]);
  }

  test('it is deleted: the migration fails, and the guest is powered down', async () => {
    await system.cluster.kubectl('delete', 'vm', 'web', '--timeout=60s');
    const { status } = await system.finished('web-1');
    expect(status).toMatchObject({ phase: 'Failed', reason: 'VirtualMachineDeleted' });
    expect(printed(recorder)).toMatch(poweredDown);
    assertNeverMoved();
  });

  test('it is stopped: the migration fails, and the guest is powered down', async () => {
    await system.change('web', { powerState: 'Stopped' });
    const { status } = await system.finished('web-1');
    expect(status).toMatchObject({ phase: 'Failed', reason: 'VirtualMachineStopped' });
    const stopped = await system.reached('web', 'Stopped');
    expect(stopped.status?.lastEnd).toMatchObject({ reason: 'StoppedOnRequest', exitCode: 0 });
    expect(printed(recorder)).toMatch(poweredDown);
    assertNeverMoved();
  });

  test('it is paused: the guest stands still when it has moved', async () => {
    await system.change('web', { powerState: 'Paused' });
    await system.speedUp('web-1');
    expect((await system.finished('web-1')).status?.phase).toBe('Succeeded');
    await system.reached('web', 'Paused', 2);
    await system.change('web', { powerState: 'Running' });
    await system.reached('web', 'Running', 2);
    assertUnbroken(readHeartbeats(recorder.output));
  });

  test('its guest powers itself off: the migration fails, and restartPolicy Always starts the VM again', async () => {
    recorder.send('web-1', 'q');
    const { status } = await system.finished('web-1');
    expect(status).toMatchObject({ phase: 'Failed', reason: 'GuestPoweredOff' });
    const vm = await system.reached('web', 'Running', 2);
    expect(vm.status?.lastEnd).toMatchObject({ podName: 'web-1', reason: 'GuestPoweredOff', exitCode: 0 });
    assertOneAfterAnother(recorder.output);
  });

  test('its QEMU is killed: the migration fails, and restartPolicy Always starts the VM again', async () => {
    process.kill(await pidOf('web'), 'SIGKILL');
    const { status } = await system.finished('web-1');
    expect(status).toMatchObject({ phase: 'Failed', reason: 'SourceLost' });
    const vm = await system.reached('web', 'Running', 2);
    expect(vm.status?.lastEnd).toMatchObject({ podName: 'web-1', reason: 'QemuFailed', exitCode: 137 });
    assertOneAfterAnother(recorder.output);
  });

  test('its pod is deleted by hand: the guest has time to move away', async () => {
    await system.cluster.kubectl('delete', 'pod', 'web-1', '--wait=false');
    await system.speedUp('web-1');
    expect((await system.finished('web-1')).status?.phase).toBe('Succeeded');
    const { status } = await system.reached('web', 'Running', 2);
    expect(status?.lastEnd).toBeUndefined();
    assertUnbroken(readHeartbeats(recorder.output));
  });
});
