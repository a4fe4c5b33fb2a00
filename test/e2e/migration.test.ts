import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { assertUnbroken, readHeartbeats } from '../guest/heartbeat.ts';
import { manifestFile } from './manifest-files.ts';
import { apiVersion, System } from './system.ts';

describe('a running VM moves between two nodes', () => {
  let system: System;
  beforeAll(async () => {
    system = await System.start();
  });
  afterAll(() => system?.[Symbol.asyncDispose]());

  test('kubectl shows the phases as they are, waits for the end, and tells the story', async () => {
    const { cluster } = system;
    const recorder = await system.startVirtualMachine('web', { totalMiB: 64, hotMiB: 8, dirtyMiBPerSecond: 5 });
    const from = (await system.virtualMachine('web')).status?.placement?.nodeName;
    const to = from === 'node-a' ? 'node-b' : 'node-a';

    // Slow enough for people, and tests, to see it on its way.
    const transfer = { maxBandwidth: '40Mi' };
    const manifest = await manifestFile(cluster, {
      apiVersion,
      kind: 'VirtualMachineMigration',
      metadata: { name: 'web-1' },
      spec: { virtualMachineName: 'web', target: { nodeName: to }, transfer },
    });
    const watch = spawn(cluster.kubectlPath, ['get', 'vmm', '-w'], { env: { ...process.env, ...cluster.env } });
    let watched = '';
    watch.stdout.on('data', (text) => {
      watched += text;
    });
    await cluster.kubectl('apply', '-f', manifest);
    await cluster.kubectl('wait', '--for=condition=Succeeded', 'vmm/web-1', '--timeout=60s');
    const migration = await system.finished('web-1');
    await system.until('the downtime is shown', async () => (await system.migration('web-1')).status?.downtime);
    watch.kill();

    const [header = '', ...rows] = watched.trim().split('\n');
    expect(header.trim().split(/\s+/)).toEqual(['NAME', 'VM', 'PHASE', 'FROM', 'TO', 'PROGRESS', 'DOWNTIME', 'AGE']);
    const phases = rows.map((row) => row.split(/\s+/)[2] ?? '').filter((phase) => /^[A-Z]/.test(phase));
    const order = [
      'Pending',
      'Scheduling',
      'Checking',
      'Preparing',
      'Transferring',
      'SwitchingOver',
      'Finalizing',
      'Succeeded',
    ];
    expect(phases).toEqual(phases.toSorted((left, right) => order.indexOf(left) - order.indexOf(right)));
    expect(phases).toContain('Transferring');
    expect(phases.at(-1)).toBe('Succeeded');
    const progress = rows.map((row) => Number(/(\d+)%/.exec(row)?.[1])).filter(Number.isFinite);
    expect(progress).toEqual(progress.toSorted((left, right) => left - right));
    expect(progress.some((percent) => percent > 0 && percent < 100)).toBe(true);
    expect(progress.at(-1)).toBe(100);
    for (const row of rows.filter((text) => text.includes('Transferring'))) {
      expect(row).toMatch(new RegExp(`^web-1 +web +Transferring +${from} +${to} `));
      expect(row).not.toContain('100%');
    }
    expect(rows.at(-1)).toMatch(/ 100% +\d+ms +\d+s$/);

    const { status } = await system.migration('web-1');
    expect(status).toMatchObject({ reason: 'Migrated', sourceNode: from, targetNode: to });
    expect(status?.message).toContain(`runs on ${to}`);
    expect(status?.downtime).toBe(`${status?.downtimeMilliseconds}ms`);
    expect(Buffer.byteLength(JSON.stringify(migration))).toBeLessThan(16 * 1024);

    const vm = await system.virtualMachine('web');
    expect(vm.status?.placement).toMatchObject({ nodeName: to, podUID: status?.targetPod?.uid, generation: 2 });
    expect(vm.status?.lastMigration).toMatchObject({ name: 'web-1', result: 'Succeeded', from, to });
    expect((await system.pods()).map(({ metadata }) => metadata.uid)).toEqual([status?.targetPod?.uid]);

    const story = await system.until('the events are written', async () => {
      const text = await cluster.kubectl('describe', 'vmm', 'web-1');
      return text.includes('SourceCleaned') && text.includes('stood still') ? text : undefined;
    });
    for (const reason of ['Started', 'TargetReady', 'Migrated', 'SourceCleaned'])
      expect(story).toMatch(new RegExp(`Normal\\s+${reason}`));
    expect(await cluster.kubectl('describe', 'vm', 'web')).toMatch(/Migrated.*stood still for \d+ms/);

    const report = readHeartbeats(recorder.output);
    assertUnbroken(report);
    expect(report.moves).toHaveLength(1);
  });

  test('a finished migration that is deleted leaves the VM running in the same pod', async () => {
    const before = await system.virtualMachine('web');
    await system.cluster.kubectl('delete', 'vmm', 'web-1');
    const after = await system.virtualMachine('web');
    expect(after.status?.placement).toEqual(before.status?.placement);
    expect(after.status?.guest).toEqual(before.status?.guest);
    expect(after.status?.phase).toBe('Running');
  });

  test('without a target the scheduler chooses another node', async () => {
    const from = (await system.virtualMachine('web')).status?.placement?.nodeName;
    await system.migrate('web-2', 'web');
    const { status } = await system.finished('web-2');
    expect(status?.phase).toBe('Succeeded');
    expect(status?.targetNode).not.toBe(from);
  });

  test('meanwhile no agent has turned the other away: it is called neither too early nor too late', () => {
    for (const { agent } of system.cluster.nodes.values()) {
      expect(agent?.logTail(1_000)).toContain('the target answers');
      expect(agent?.logTail(1_000)).not.toContain('refused a handover connection');
    }
  });

  test('a paused VM moves and stays paused', async () => {
    await system.startVirtualMachine('still');
    await system.cluster.kubectl('patch', 'vm', 'still', '--type=merge', '-p', '{"spec":{"powerState":"Paused"}}');
    await system.cluster.kubectl('wait', '--for=jsonpath={.status.phase}=Paused', 'vm/still', '--timeout=30s');
    await system.migrate('still-1', 'still');
    const { status } = await system.finished('still-1');
    expect(status?.phase).toBe('Succeeded');
    await system.cluster.kubectl('wait', '--for=jsonpath={.status.phase}=Paused', 'vm/still', '--timeout=30s');
    await system.cluster.kubectl('patch', 'vm', 'still', '--type=merge', '-p', '{"spec":{"powerState":"Running"}}');
    await system.cluster.kubectl('wait', '--for=jsonpath={.status.phase}=Running', 'vm/still', '--timeout=30s');
    await system.cluster.kubectl('delete', 'vm', 'still');
  });

  test('a VM that was born paused moves, and then runs for the first time', async () => {
    const recorder = await system.startVirtualMachine('fresh', {}, { powerState: 'Paused' });
    await system.migrate('fresh-1', 'fresh');
    expect((await system.finished('fresh-1')).status).toMatchObject({ phase: 'Succeeded' });
    await system.reached('fresh', 'Paused');
    expect(readHeartbeats(recorder.output).beats).toBe(0);
    await system.change('fresh', { powerState: 'Running' });
    await system.reached('fresh', 'Running');
    await system.until('it counts', () => (readHeartbeats(recorder.output).beats > 0 ? true : undefined));
    await system.cluster.kubectl('delete', 'vm', 'fresh');
  });

  test('a paused VM whose move is cancelled at the last moment can be continued where it is', async () => {
    const recorder = await system.startVirtualMachine('stays', {}, { powerState: 'Paused' });
    await system.change('stays', { powerState: 'Running' });
    await system.reached('stays', 'Running');
    await system.change('stays', { powerState: 'Paused' });
    const { nodeName = '', podUID } = (await system.reached('stays', 'Paused')).status?.placement ?? {};
    const node = system.cluster.nodes.get(nodeName);
    if (node?.agent === undefined) throw new Error(`no agent on ${nodeName}`);
    await system.migrate('stays-1', 'stays', { transfer: { maxBandwidth: '5Mi' } });
    await system.bytesFlow('stays-1');
    await node.agent.kill();
    await using qmp = await system.monitor(node, podUID);
    await system.until('QEMU waits at the switchover', async () =>
      (await qmp.execute('query-migrate')).status === 'pre-switchover' ? true : undefined,
    );
    await system.cluster.kubectl('patch', 'vmm', 'stays-1', '--type=merge', '-p', '{"spec":{"cancel":true}}');
    await node.agent.restart();
    expect((await system.finished('stays-1')).status).toMatchObject({ phase: 'Cancelled' });
    await system.reached('stays', 'Paused');
    await system.change('stays', { powerState: 'Running' });
    await system.reached('stays', 'Running', 1);
    const before = readHeartbeats(recorder.output).last;
    await system.until('it counts on', () => (readHeartbeats(recorder.output).last > before ? true : undefined));
    await system.cluster.kubectl('delete', 'vm', 'stays');
  });

  test('two migrations of one VM wait for each other', async () => {
    await system.migrate('web-3', 'web', { transfer: { maxBandwidth: '40Mi' } });
    await system.migrate('web-4', 'web');
    const third = await system.finished('web-3');
    const fourth = await system.finished('web-4');
    expect([third.status?.phase, fourth.status?.phase]).toEqual(['Succeeded', 'Succeeded']);
    expect(fourth.status?.sourceNode).toBe(third.status?.targetNode);
    expect(fourth.status?.timeline?.[0]?.phase).toBe('Pending');
  });

  test('a migration of a VM that does not exist, or to where it is, says so at once', async () => {
    await system.migrate('nobody', 'nobody');
    expect((await system.finished('nobody')).status).toMatchObject({
      phase: 'Failed',
      reason: 'VirtualMachineNotFound',
    });
    const nodeName = (await system.virtualMachine('web')).status?.placement?.nodeName;
    await system.migrate('here', 'web', { target: { nodeName } });
    expect((await system.finished('here')).status).toMatchObject({ phase: 'Failed', reason: 'AlreadyOnTargetNode' });
  });
});
