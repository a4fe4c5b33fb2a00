/** A node falls silent while the QEMUs on it run on: what an operator must say before their VMs are started elsewhere. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { annotations, finalizers, outOfServiceTaint } from '../../src/api/labels.ts';
import type { HeartbeatRecorder } from '../guest/heartbeat-recorder.ts';
import { assertOneAfterAnother } from './consoles.ts';
import { podsRemembered, qemusBelow } from './leftovers.ts';
import { System } from './system.ts';

/** Kubernetes gives a node 50 s, and looks every 5. */
const untilNotReady = 100_000;

interface Lost {
  recorder: HeartbeatRecorder;
  podUID: string;
  pid: number;
}

let system: System;
/** VMs on node-a: one whose pod stays, one whose pod is deleted, one whose pod is removed although it was held. */
const lost = { plain: {} as Lost, deleted: {} as Lost, removed: {} as Lost };
const names = Object.keys(lost) as (keyof typeof lost)[];

beforeAll(async () => {
  system = await System.start();
  const { cluster } = system;
  await cluster.kubectl('cordon', 'node-b');
  for (const name of names) {
    const recorder = await system.startVirtualMachine(name, {}, { restartPolicy: 'OnFailure' });
    const pod = (await system.pods()).find(({ metadata }) => metadata.name === `${name}-1`);
    if (pod === undefined) throw new Error(`vm/${name} has no pod`);
    lost[name] = { recorder, podUID: pod.metadata.uid ?? '', pid: await system.pidOf(pod) };
  }
  await cluster.kubectl('uncordon', 'node-b');
  const node = cluster.nodes.get('node-a');
  await Promise.all([node?.localnode.kill(), node?.agent?.kill()]);
});
afterAll(() => system?.[Symbol.asyncDispose]());

async function readiness(name: string) {
  const { status } = await system.virtualMachine(name);
  return status?.conditions?.find(({ type }) => type === 'Ready');
}

/** Nothing has been started elsewhere, and the guests count on unseen. */
async function nothingHasChanged(): Promise<void> {
  for (const name of names) {
    const { status } = await system.virtualMachine(name);
    expect(status?.placement).toMatchObject({ generation: 1, podUID: lost[name].podUID, nodeName: 'node-a' });
    await lost[name].recorder.waitFor(/(?:T[0-9A-F]{8}\n[^T]*){2}/, AbortSignal.timeout(30_000));
  }
  expect((await system.pods()).filter(({ spec }) => spec.nodeName !== 'node-a')).toEqual([]);
}

/** Carries out the command that the VM's message begins with these words, as a person would copy it. */
async function doAsTold(name: string, command: string): Promise<void> {
  const { message = '' } = (await system.virtualMachine(name)).status ?? {};
  const [, args] = message.match(new RegExp(`kubectl (${command} [^;]*)`)) ?? [];
  if (args === undefined) throw new Error(`vm/${name} does not say how to ${command}: ${message}`);
  await system.cluster.kubectl(...args.split(' '));
}

async function startedElsewhere(name: keyof typeof lost): Promise<void> {
  const { status } = await system.reached(name, 'Running', 2);
  expect(status).toMatchObject({
    placement: { nodeName: 'node-b', podName: `${name}-2` },
    restarts: 1,
    lastEnd: { podName: `${name}-1`, reason: 'NodeFenced' },
  });
  await system.until('the lost pod is gone', async () =>
    (await system.pods()).every(({ metadata }) => metadata.uid !== lost[name].podUID) ? true : undefined,
  );
  assertOneAfterAnother(lost[name].recorder.output);
}

test('a node that is not ready and pods that are deleted by force change nothing; what would settle it is told', async () => {
  await system.cluster.kubectl('wait', '--for=condition=Ready=Unknown', 'node/node-a', `--timeout=${untilNotReady}ms`);
  await nothingHasChanged();
  await system.until('it is told', async () =>
    (await readiness('plain'))?.reason === 'NodeNotReady' ? true : undefined,
  );
  await system.cluster.kubectl('delete', 'pod', 'deleted-1', 'removed-1', '--force', '--wait=false');
  await system.cluster.kubectl('patch', 'pod', 'removed-1', '--type=merge', '-p', '{"metadata":{"finalizers":null}}');
  await system.until('its absence is told', async () =>
    (await readiness('removed'))?.reason === 'PodVanished' ? true : undefined,
  );
  const [deleted] = (await system.pods()).filter(({ metadata }) => metadata.name === 'deleted-1');
  expect(deleted?.metadata).toMatchObject({ finalizers: [finalizers.guest], deletionTimestamp: expect.any(String) });
  await nothingHasChanged();
  for (const name of names) expect(await readiness(name)).toMatchObject({ status: 'Unknown' });
}, 180_000);

test("another pod's UID in the annotation is refused, and the one that it could be is told", async () => {
  for (const name of names) {
    const other = name === 'plain' ? lost.deleted.podUID : lost.plain.podUID;
    await system.cluster.kubectl('annotate', 'vm', name, `${annotations.fenced}=${other}`);
    const note = await system.until('the refusal is told', async () => {
      const selector = `--field-selector=reason=FenceRefused,regarding.name=${name}`;
      const events = await system.cluster.kubectl('get', 'events.events.k8s.io', selector, '-o', 'json');
      const [event] = (JSON.parse(events) as { items: { type: string; note: string }[] }).items;
      return event?.type === 'Warning' ? event.note : undefined;
    });
    expect(note).toContain(`it could be ${lost[name].podUID} (${name}-1)`);
  }
  await nothingHasChanged();
});

test.each<keyof typeof lost>(['deleted', 'removed'])(
  'the QEMU of the %s pod is off: the annotation with its UID starts the VM elsewhere',
  async (name) => {
    process.kill(lost[name].pid, 'SIGKILL');
    await doAsTold(name, 'annotate');
    await startedElsewhere(name);
    expect((await system.virtualMachine('plain')).status?.placement?.generation).toBe(1);
  },
);

test('the node is off: the taint starts the VM elsewhere', async () => {
  process.kill(lost.plain.pid, 'SIGKILL');
  await doAsTold('plain', 'taint');
  await startedElsewhere('plain');
});

test('the node comes back: nothing of the lost pods is left', async () => {
  const node = system.cluster.nodes.get('node-a');
  await Promise.all([node?.localnode.restart(), node?.agent?.restart()]);
  await system.cluster.kubectl('taint', 'node', 'node-a', `${outOfServiceTaint}-`);
  const owners = await Promise.all(
    names.map(async (name) => (await system.virtualMachine(name)).status?.placement?.podUID),
  );
  await system.until('only the owners are left', async () => {
    const left = [
      ...(await system.pods()).map(({ metadata }) => metadata.uid),
      ...(await podsRemembered(system.cluster)),
    ];
    return left.every((uid) => owners.includes(uid)) ? true : undefined;
  });
  expect(await qemusBelow(system.cluster.directory)).toBe(names.length);
  for (const name of names) assertOneAfterAnother(lost[name].recorder.output);
});
