/** Agents as processes, with the rights that their manifest gives them: that they work is seen, and one of two waits. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AgentPresences, createAgentPresences } from '../../src/controller/agent-presence.ts';
import { KubeClient } from '../../src/kube/client.ts';
import { leases } from '../../src/kube/core-resources.ts';
import { KubeTransport, loadKubeConfig } from '../../src/kube/transport.ts';
import type { AgentPresence } from '../../src/migration/controller-facts.ts';
import { type Cluster, startCluster } from '../cluster/cluster.ts';
import { until } from '../cluster/waiting.ts';

/** Some renewals, of which there is one every 10 s. */
const deadline = 40_000;
const nodeName = 'node-a';
const namespace = 'vmferry-system';

const resources = new AsyncDisposableStack();
let cluster: Cluster;
let client: KubeClient;
let presences: AgentPresences;
/** The observer's clock may be set. */
let ahead = 0;

beforeAll(async () => {
  cluster = resources.use(await startCluster({ nodes: [nodeName], controller: false, network: 'loopback' }));
  client = new KubeClient(resources.use(new KubeTransport(loadKubeConfig(cluster.adminKubeconfig))));
  const options = { namespace, now: () => Date.now() + ahead, logger: pino({ level: 'silent' }) };
  presences = resources.use(createAgentPresences(client, options));
  presences.leases.start();
  await presences.leases.synced();
});
afterAll(() => resources.disposeAsync());

const agent = () => {
  const { agent } = cluster.nodes.get(nodeName) ?? {};
  if (agent === undefined) throw new Error('no agent runs');
  return agent;
};

const holder = async () => (await client.get(leases, { namespace, name: `agent.${nodeName}` })).spec?.holderIdentity;

function seen(what: string, fits: (presence: AgentPresence) => boolean): Promise<AgentPresence> {
  return until(`the agent is seen ${what}`, deadline, () => {
    const presence = presences.presenceOf(nodeName);
    return presence !== undefined && fits(presence) ? presence : undefined;
  });
}

test('an agent is seen to renew, and to go on after the API server was away', async () => {
  const first = await seen('at work', () => true);
  const renewed = await seen('to renew', ({ seenAt }) => seenAt > first.seenAt);
  expect(renewed.since).toBe(first.since);
  await cluster.restartApiServer();
  const later = await seen('after the outage', ({ seenAt }) => seenAt > renewed.seenAt);
  expect(later.since).toBe(first.since);
  // As if more than 30 s had passed without a renewal.
  ahead += 60_000;
  const back = await seen('to come back', ({ since }) => since > later.seenAt);
  expect(back.since).toBe(back.seenAt);
});

test('a second agent on the node waits for the end of the first, and is seen as a new one then', async () => {
  const { since } = await seen('at work', () => true);
  const before = await holder();
  const [command = '', ...args] = readFileSync(`/proc/${agent().pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
  const second = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], cwd: cluster.directory });
  resources.defer(async () => {
    if (second.exitCode === null && second.kill('SIGKILL')) await once(second, 'exit');
  });
  const log: { msg: string; pid?: number }[] = [];
  createInterface(second.stdout).on('line', (line) => log.push(JSON.parse(line)));
  const [waits] = await until('it says that it waits', deadline, () => (log.length > 0 ? log : undefined));
  expect(waits).toMatchObject({ msg: 'Waiting for the end of another agent on this node', pid: agent().pid });
  expect(await holder()).toBe(before);
  await agent().kill();
  await until('it has taken the lease over', deadline, async () => ((await holder()) !== before ? true : undefined));
  expect(log.map(({ msg }) => msg)).toContain('The other agent has ended');
  await seen('as a new one', (presence) => presence.since > since);
});
