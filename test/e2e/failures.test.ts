import { chmod, copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { labels } from '../../src/api/labels.ts';
import type { Pod } from '../../src/kube/core-resources.ts';
import { assertUnbroken, readHeartbeats } from '../guest/heartbeat.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { guestRom } from '../guest/metal/rom.ts';
import { apply, manifestFile } from './manifest-files.ts';
import { System } from './system.ts';

/** 64 MiB that cannot be compressed, at 10 MiB a second: seconds in which to interfere. */
const slow = { maxBandwidth: '10Mi' };

describe('a migration that fails leaves the VM where it was', () => {
  let system: System;
  let recorder: HeartbeatRecorder;
  beforeAll(async () => {
    system = await System.start();
    recorder = await system.startVirtualMachine('web', { totalMiB: 64, hotMiB: 4, dirtyMiBPerSecond: 2 });
  });
  afterAll(() => system?.[Symbol.asyncDispose]());

  /** Whatever the failure was: one pod, the old owner, a guest whose life has no break. */
  afterEach(async () => {
    const vm = await system.virtualMachine('web');
    expect(vm.status?.phase).toBe('Running');
    expect(vm.status?.placement?.generation).toBe(1);
    expect((await system.pods()).map(({ metadata }) => metadata.uid)).toEqual([vm.status?.placement?.podUID]);
    const beats = readHeartbeats(recorder.output).last;
    await recorder.waitFor(/T[0-9A-F]{8}/, AbortSignal.timeout(10_000));
    await system.until('the guest counts on', () => (readHeartbeats(recorder.output).last > beats ? true : undefined));
    assertUnbroken(readHeartbeats(recorder.output));
  });

  async function source(): Promise<string> {
    return (await system.virtualMachine('web')).status?.placement?.nodeName ?? '';
  }

  async function targetPod(migration: string): Promise<Pod> {
    return await system.until('the target pod is there', async () => {
      const { uid } = (await system.migration(migration)).metadata;
      return (await system.pods()).find(({ metadata }) => metadata.labels?.[labels.migration] === uid);
    });
  }

  test("the target's QEMU is killed while bytes flow", async () => {
    await system.migrate('killed', 'web', { transfer: slow });
    await system.bytesFlow('killed');
    const pod = await targetPod('killed');
    process.kill(await system.pidOf(pod), 'SIGKILL');
    const { status } = await system.finished('killed');
    expect(status).toMatchObject({ phase: 'Failed', reason: 'TransferFailed' });
    expect(status?.message).toContain(`runs on ${await source()}`);
    expect(status?.conditions).toContainEqual(expect.objectContaining({ type: 'TargetCleaned', status: 'True' }));
    expect(status?.conditions).toContainEqual(
      expect.objectContaining({ type: 'Succeeded', status: 'False', reason: 'TransferFailed' }),
    );
    expect(status?.transfer?.progressPercent).toBeLessThan(100);
  });

  test('the target cannot load the state: its firmware has another size', async () => {
    // Node B has another file under the same name, as after half an upgrade.
    const hostPath = join(system.cluster.directory, 'guest.rom');
    const rom = await guestRom({ totalMiB: 16 });
    await copyFile(rom, hostPath);
    await system.startVirtualMachine('odd', {}, { firmware: { bios: { image: { hostPath } } } });
    const image = await readFile(hostPath);
    await writeFile(`${hostPath}.new`, Buffer.concat([Buffer.alloc(image.length), image]));
    await copyFile(`${hostPath}.new`, hostPath);
    await system.migrate('odd-1', 'odd');
    const { status } = await system.finished('odd-1');
    expect(status).toMatchObject({ phase: 'Failed', reason: 'TransferFailed' });
    expect(status?.message).toMatch(/vm\/odd runs on node-/);
    expect(status?.message).toMatch(/Size mismatch/);
    expect((await system.virtualMachine('odd')).status).toMatchObject({
      phase: 'Running',
      placement: { generation: 1 },
    });
    await system.cluster.kubectl('delete', 'vm', 'odd');
  });

  test('preflight refuses a target that was started with other hardware', async () => {
    const programs = join(system.cluster.directory, 'other-qemu');
    await mkdir(programs);
    const wrapper = join(programs, 'qemu-system-x86_64');
    await writeFile(wrapper, '#!/bin/sh\nexec /usr/bin/qemu-system-x86_64 "$@" -device virtio-rng-pci\n');
    await chmod(wrapper, 0o755);
    await system.cluster.startNode('node-odd', { PATH: `${programs}:${process.env.PATH}` });
    await system.cluster.startAgent('node-odd');
    await system.migrate('refused', 'web', { target: { nodeName: 'node-odd' } });
    const { status } = await system.finished('refused');
    expect(status).toMatchObject({ phase: 'Failed', reason: 'PreflightFailed', targetNode: 'node-odd' });
    expect(status?.message).toContain('started with different hardware');
    expect(status?.message).toContain(`runs on ${await source()}`);
    expect(status?.plan).toBeUndefined();
    await system.cluster.kubectl('cordon', 'node-odd');
  });

  test('no node takes the target pod', async () => {
    await system.migrate('nowhere', 'web', { target: { nodeName: 'node-z' } });
    const { status } = await system.finished('nowhere');
    expect(status).toMatchObject({ phase: 'Failed', reason: 'Unschedulable' });
    expect(status?.message).toMatch(/\d nodes? are available|didn't match/);
    expect(status?.message).toContain(`runs on ${await source()}`);
  });

  test('the migration is deleted while bytes flow: that cancels it', async () => {
    await system.migrate('deleted', 'web', { transfer: slow });
    await system.bytesFlow('deleted');
    await system.cluster.kubectl('delete', 'vmm', 'deleted', '--timeout=30s');
    expect(await system.cluster.kubectl('get', 'vmm', '-o', 'name')).not.toContain('/deleted');
  });

  test('spec.cancel is set while bytes flow', async () => {
    await system.migrate('cancelled', 'web', { transfer: slow });
    await system.bytesFlow('cancelled');
    await system.cluster.kubectl('patch', 'vmm', 'cancelled', '--type=merge', '-p', '{"spec":{"cancel":true}}');
    const { status } = await system.finished('cancelled');
    expect(status).toMatchObject({ phase: 'Cancelled', reason: 'Cancelled' });
    expect(status?.message).toContain(`runs on ${await source()}`);
  });

  test('the API server refuses the target pod: the migration says so, and ends', async () => {
    const metadata = { name: 'no-targets' };
    const role = `object.metadata.?labels['${labels.role}'].orValue('')`;
    const policy = {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'ValidatingAdmissionPolicy',
      metadata,
      spec: {
        matchConstraints: {
          resourceRules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
        },
        validations: [{ expression: `${role} != 'target'`, message: 'no more targets in this cluster' }],
      },
    };
    const spec = { policyName: metadata.name, validationActions: ['Deny'] };
    await apply(system.cluster, policy, { ...policy, kind: 'ValidatingAdmissionPolicyBinding', spec });
    const probe = await manifestFile(system.cluster, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'probe', labels: { [labels.role]: 'target' } },
      spec: { containers: [{ name: 'probe', image: 'probe' }] },
    });
    await system.until('the policy is in force', () =>
      system.cluster.kubectl('apply', '--dry-run=server', '-f', probe).then(
        () => undefined,
        () => true,
      ),
    );
    await system.migrate('unwelcome', 'web');
    await system.until(
      'the refusal is told',
      async () =>
        (await system.migration('unwelcome')).status?.message?.includes('no more targets in this cluster') || undefined,
    );
    const { status } = await system.finished('unwelcome');
    expect(status).toMatchObject({ phase: 'Failed', reason: 'TargetFailed' });
    expect(status?.message).toContain('no more targets in this cluster');
    expect(status?.message).toContain(`runs on ${await source()}`);
    for (const kind of ['validatingadmissionpolicybinding', 'validatingadmissionpolicy'])
      await system.cluster.kubectl('delete', kind, metadata.name);
  });

  test('the transfer takes longer than its timeout', async () => {
    await system.migrate('late', 'web', { transfer: { ...slow, timeout: '2s' } });
    const { status } = await system.finished('late');
    expect(status).toMatchObject({ phase: 'Failed', reason: 'TransferTimedOut' });
    expect(status?.message).toContain('Raise spec.transfer.timeout');
  });
});
