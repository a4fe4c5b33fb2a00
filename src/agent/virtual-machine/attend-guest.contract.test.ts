import { expect, test } from 'vitest';
import type { QemuRegistry } from '../qemu/registry.ts';
import { ended, Node, podUID } from '../started-qemu.test-support.ts';
import type { StateDirectory } from '../state-directory.ts';
import { attendGuest } from './attend-guest.ts';
import type { GuestReport, Wish } from './guest-step.ts';

type Agent = QemuRegistry & { readonly state: StateDirectory };

/** Looks again until nothing is left to do at once, as the agent does. */
async function attend(agent: Agent, node: Node, wish: Wish, gracePeriodMilliseconds = 30_000) {
  const scope = { qemu: agent.get(podUID), state: agent.state, wish, gracePeriodMilliseconds, logger: node.logger };
  for (;;) {
    const look = await attendGuest({ ...scope, published: undefined });
    if (look.lookAgainAfter !== 0) return look;
  }
}

/** What is reported, as soon as QEMU has started. */
async function firstReport(agent: Agent, node: Node, wish: Wish): Promise<GuestReport | undefined> {
  let report: GuestReport | undefined;
  await expect.poll(async () => (report = (await attend(agent, node, wish)).report)).toBeDefined();
  return report;
}

test('a guest is paused and continued as its owner wishes', async () => {
  await using node = new Node();
  await using agent = await node.registry();
  node.start();
  expect(await firstReport(agent, node, 'Run')).toEqual({
    podUID,
    runState: 'running',
    running: true,
    blockers: [],
    sequence: 1,
  });
  expect((await attend(agent, node, 'Pause')).report).toMatchObject({ runState: 'paused', running: false });
  expect((await attend(agent, node, 'Run')).report).toMatchObject({ runState: 'running' });
});

test('a guest that was started without running is continued', async () => {
  await using node = new Node();
  await using agent = await node.registry();
  node.start({ extra: ['-S'] });
  expect(await firstReport(agent, node, 'Run')).toMatchObject({ runState: 'running' });
});

test('a guest that somebody else has paused stays so until its owner has said both', async () => {
  await using node = new Node();
  await using agent = await node.registry();
  node.start();
  await firstReport(agent, node, 'Run');
  await (await agent.get(podUID).monitor()).execute('stop');
  expect((await attend(agent, node, 'Run')).report).toMatchObject({ runState: 'paused' });
  await attend(agent, node, 'Pause');
  expect((await attend(agent, node, 'Run')).report).toMatchObject({ runState: 'running' });
});

test('an agent that was restarted knows that it was its owner who paused the guest', async () => {
  await using node = new Node();
  node.start();
  {
    await using before = await node.registry();
    await firstReport(before, node, 'Pause');
  }
  await using after = await node.registry();
  expect((await attend(after, node, 'Run')).report).toMatchObject({ runState: 'running' });
});

test('the power button is pressed; a guest that does not hear it is ended when its time is up', async () => {
  await using node = new Node();
  await using agent = await node.registry();
  const child = node.start();
  await firstReport(agent, node, 'Run');
  const events: string[] = [];
  agent.get(podUID).onEvent(({ name }) => events.push(name));
  const { report, lookAgainAfter } = await attend(agent, node, 'End');
  expect(events).toEqual(['POWERDOWN']);
  expect(report).toMatchObject({ runState: 'running', powerDownRequestedAt: expect.stringMatching(/Z$/) });
  expect(lookAgainAfter).toBeGreaterThan(0);
  await attend(agent, node, 'End', 0);
  await ended(child);
  expect([child.exitCode, events]).toEqual([0, ['POWERDOWN', 'SHUTDOWN']]);
  await expect
    .poll(() => attend(agent, node, 'End', 0))
    .toMatchObject({ answers: false, report: { runState: 'ended' } });
});

test('a paused guest is continued so that it can power itself down', async () => {
  await using node = new Node();
  await using agent = await node.registry();
  node.start();
  await firstReport(agent, node, 'Pause');
  const events: string[] = [];
  agent.get(podUID).onEvent(({ name }) => events.push(name));
  await attend(agent, node, 'End');
  expect(events).toEqual(['RESUME', 'POWERDOWN']);
});

test('a guest that never ran is ended at once', async () => {
  await using node = new Node();
  await using agent = await node.registry();
  const child = node.start({ extra: ['-S'] });
  await expect
    .poll(() =>
      agent
        .get(podUID)
        .monitor()
        .then(
          () => true,
          () => false,
        ),
    )
    .toBe(true);
  await attend(agent, node, 'End');
  await ended(child);
  expect(child.exitCode).toBe(0);
});
