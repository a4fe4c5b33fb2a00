/** The controller as a process, with the rights that its manifest gives it: flags, leader election, readiness, an orderly end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parse, stringify } from 'yaml';
import { type VirtualMachine, virtualMachines } from '../../src/api/objects.ts';
import { KubeClient } from '../../src/kube/client.ts';
import { KubeTransport, loadKubeConfig } from '../../src/kube/transport.ts';
import { type Cluster, startCluster } from '../cluster/cluster.ts';
import { evict } from '../cluster/evict.ts';
import { evictionWebhook } from '../cluster/eviction-webhook.ts';
import { freePort } from '../cluster/free-port.ts';
import { until } from '../cluster/waiting.ts';
import { pretendNode, uniqueName } from './pretend-node.ts';

const deadline = 30_000;
const program = path.resolve(import.meta.dirname, '../../src/controller/main.ts');
const resources = new AsyncDisposableStack();
let cluster: Cluster;
let client: KubeClient;
let kubeconfig: string;

beforeAll(async () => {
  cluster = resources.use(await startCluster({ network: 'loopback' }));
  client = new KubeClient(resources.use(new KubeTransport(loadKubeConfig(cluster.adminKubeconfig))));
  const token = (await cluster.kubectl('create', 'token', 'vmferry-controller', '-n', 'vmferry-system')).trim();
  const config = parse(readFileSync(cluster.adminKubeconfig, 'utf8'));
  for (const { user } of config.users) {
    for (const field of Object.keys(user)) delete user[field];
    user.token = token;
  }
  kubeconfig = path.join(cluster.directory, 'controller.kubeconfig');
  writeFileSync(kubeconfig, stringify(config));
});

afterAll(() => resources.disposeAsync());

function start(...flags: string[]): ChildProcess {
  const child = spawn(process.execPath, [program, ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: cluster.directory,
    env: { ...process.env, LOG_LEVEL: 'info' },
  });
  resources.defer(async () => {
    if (child.exitCode === null && child.kill('SIGKILL')) await once(child, 'exit');
  });
  return child;
}

interface Replica {
  child: ChildProcess;
  log: string[];
  port: number;
}

async function startReplica(...flags: string[]): Promise<Replica> {
  const port = await freePort();
  const child = start(
    '--kubeconfig',
    kubeconfig,
    '--qemu-image=qemu:test',
    '--accelerator=tcg',
    '--health-port',
    `${port}`,
    ...flags,
  );
  const log: string[] = [];
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => log.push(chunk));
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => log.push(chunk));
  await until(`the replica is ready: ${log}`, deadline, async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
    return answer?.status === 200 || undefined;
  });
  return { child, log, port };
}

const leads = ({ log }: Replica) => log.join('').includes('Reconciling');

/** @returns the name of its pod */
async function placesAVirtualMachine(): Promise<string> {
  const name = uniqueName('vm');
  await client.create<VirtualMachine>(virtualMachines, {
    apiVersion: 'vmferry.io/v1alpha1',
    kind: 'VirtualMachine',
    metadata: { name, namespace: 'default' },
    spec: { memory: '64Mi', firmware: { bios: {} } },
  });
  await until(`vm/${name} has a pod`, deadline, async () => {
    const { status } = await client.get(virtualMachines, { namespace: 'default', name });
    return status?.placement?.podUID;
  });
  return `${name}-1`;
}

test('bad flags end it with 2 and one sentence', async () => {
  const child = start('--accelerator', 'xen');
  const ended = once(child, 'exit');
  if (child.stderr === null) throw new Error('stderr is a pipe');
  expect(await text(child.stderr)).toBe('vmferry-controller: --accelerator must be kvm or tcg, not "xen".\n');
  expect((await ended)[0]).toBe(2);
});

test('of two replicas one works, and the other goes on when it ends', async () => {
  const first = await startReplica();
  await until('the first leads', deadline, () => leads(first) || undefined);
  const second = await startReplica();
  await placesAVirtualMachine();
  expect(leads(second)).toBe(false);

  const ended = once(first.child, 'exit');
  first.child.kill('SIGTERM');
  expect((await ended)[0]).toBe(0);
  await until('the second leads', deadline, () => leads(second) || undefined);
  await placesAVirtualMachine();

  const allEnded = once(second.child, 'exit');
  second.child.kill('SIGINT');
  expect((await allEnded)[0]).toBe(0);
  expect([...first.log, ...second.log].join('')).not.toMatch(/"level":"(error|fatal)"/);
});

test('a replica that does not lead answers evictions', async () => {
  const leader = await startReplica();
  await until('it leads', deadline, () => leads(leader) || undefined);
  const place = { address: '127.0.0.1', port: await freePort() };
  await cluster.apply(evictionWebhook(place));
  const standby = await startReplica('--webhook-port', `${place.port}`, '--webhook-address', place.address);
  const node = await pretendNode(client, uniqueName('node'));
  const podName = await placesAVirtualMachine();
  await node.runs(podName);
  const refusal = await until('it has seen the VM, and is trusted', deadline, async () => {
    const { status, message } = await evict(client, podName);
    expect(status).toBe(429);
    return message.includes('eviction.vmferry.io') ? message : undefined;
  });
  expect(refusal).toContain(`away from ${node.name}`);
  expect(leads(standby)).toBe(false);
  for (const { child } of [standby, leader]) {
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    expect((await ended)[0]).toBe(0);
  }
  expect([...leader.log, ...standby.log].join('')).not.toMatch(/"level":"(warn|error|fatal)"/);
});
