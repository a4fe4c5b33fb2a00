/** What a stolen token of an agent is good for: the side of its own node, and nothing else. */
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { publishSide } from '../../../src/agent/migration/publish.ts';
import { PresenceLease } from '../../../src/agent/presence-lease.ts';
import { publishGuest } from '../../../src/agent/virtual-machine/publish-guest.ts';
import {
  type VirtualMachine,
  type VirtualMachineMigration,
  virtualMachineMigrations,
  virtualMachines,
} from '../../../src/api/objects.ts';
import type { JsonPatchOperation, KubeClient } from '../../../src/kube/client.ts';
import { leases } from '../../../src/kube/core-resources.ts';
import type { ApiRequest } from '../../../src/kube/transport.ts';
import { until } from '../../cluster/waiting.ts';
import {
  account,
  add,
  createLease,
  type Ground,
  type Holder,
  onStatus,
  opened,
  prepareGround,
  reference,
  refusal,
  remove,
  systemNamespace,
} from './ground.ts';

const resources = new AsyncDisposableStack();
let ground: Ground;
let admin: KubeClient;
let agents: Ground['agents'];
beforeAll(async () => {
  ground = await prepareGround(resources);
  ({ admin, agents } = ground);
});
afterAll(() => resources.disposeAsync());

/** What an agent has of its context to publish with. */
const publishing = (client: KubeClient) => {
  const informer = { observe: () => undefined };
  return { client, outgoing: informer, incoming: informer, virtualMachines: informer } as never;
};

/** One line of a table: who tries what, and what the API server answers. */
type Refused = [what: string, holder: Holder, operations: JsonPatchOperation[], sentence: RegExp];

describe('the status of a migration', () => {
  test('each agent writes its side, and that of the source the transfer', async () => {
    const migration = await ground.aMigration();
    const transfer = { mode: 'PreCopy', progressPercent: 64 };
    const verdict = { verdict: 'Completed', verdictAt: new Date().toISOString() } as const;
    await publishSide(publishing(agents.source), migration, 'source', verdict, { transfer });
    await publishSide(publishing(agents.target), migration, 'target', { verdict: 'TookOver' });
    const { status } = await admin.get<VirtualMachineMigration>(
      virtualMachineMigrations,
      reference(migration.metadata),
    );
    expect(status).toEqual({
      ...migration.status,
      transfer,
      source: { ...opened('pod-on-a'), ...verdict, sequence: 1 },
      target: { ...opened('pod-on-b'), verdict: 'TookOver', sequence: 1 },
    });
  });

  test('an agent in a pod is the agent of the node that its pod is on', async () => {
    await publishSide(publishing(agents.pod), await ground.aMigration(), 'source', { verdict: 'Aborted' });
    const target = publishSide(publishing(agents.pod), await ground.aMigration(), 'target', { verdict: 'Refused' });
    await expect(target).rejects.toThrow(/leaves it as it is/);
  });

  const verdict = (side: 'source' | 'target', word: string) => add(`${side}/verdict`, word);
  const source = /status\.source and status\.transfer belong to the agent of the source node \(node-a\): this is the/;
  const target = /status\.target belongs to the agent of the target node \(node-b\): this is the agent of node-/;
  const controllers = /the rest of its status belongs to the controller/;
  const opening = /a side that the controller has opened, and leaves its attempt and podUID as they are/;
  const refused: Refused[] = [
    ["a target's agent says that the source has handed over", 'target', [verdict('source', 'Completed')], source],
    ["a target's agent makes up progress", 'target', [add('transfer', { progressPercent: 99 })], source],
    ["a source's agent says that the target has taken over", 'source', [verdict('target', 'TookOver')], target],
    ["another node's agent gives the source up", 'bystander', [verdict('source', 'Aborted')], source],
    ["another node's agent refuses for the target", 'bystander', [verdict('target', 'Refused')], target],
    ["another node's agent takes the target's side away", 'bystander', [remove('target')], target],
    ["another node's agent makes itself the source", 'bystander', [add('sourceNode', 'node-c')], controllers],
    [
      "another node's agent makes itself the target, and speaks",
      'bystander',
      [add('targetNode', 'node-c'), verdict('target', 'TookOver')],
      target,
    ],
    ["a source's agent ends the migration", 'source', [add('phase', 'Succeeded')], controllers],
    ["a target's agent gives its pod the VM", 'target', [add('owner', { podUID: 'u', generation: 2 })], controllers],
    ["a target's agent plans", 'target', [add('plan', { attempt: 1, endpoint: { host: 'h', port: 1 } })], controllers],
    ["a source's agent does not want to hear of the abort", 'source', [remove('abort')], controllers],
    ["a source's agent speaks of another attempt", 'source', [add('source/attempt', 2)], opening],
    ["a target's agent speaks of another pod", 'target', [add('target/podUID', 'pod-on-c')], opening],
    ["a source's agent takes its own side away", 'source', [remove('source')], opening],
    [
      'who has a token that names no node speaks for the source',
      'unbound',
      [verdict('source', 'Aborted')],
      /This token of the vmferry agent names no node: use the one that the kubelet gives/,
    ],
  ];
  test.each(refused)('%s: refused', async (_what, holder, operations, sentence) => {
    const { metadata } = await ground.aMigration();
    const write = agents[holder].jsonPatch(virtualMachineMigrations, reference(metadata), operations, onStatus);
    expect(await refusal(write)).toMatch(sentence);
  });

  test('a side is opened by the controller alone', async () => {
    const { metadata } = await ground.aMigration({ target: undefined });
    const write = agents.target.jsonPatch(
      virtualMachineMigrations,
      reference(metadata),
      [add('target', opened('pod'))],
      onStatus,
    );
    expect(await refusal(write)).toMatch(opening);
  });

  test("a migration that has no nodes yet is nobody's", async () => {
    const none = { sourceNode: undefined, targetNode: undefined };
    for (const holder of ['source', 'unbound'] as const) {
      const { metadata } = await ground.aMigration(none);
      const write = agents[holder].jsonPatch(
        virtualMachineMigrations,
        reference(metadata),
        [verdict('source', 'Aborted')],
        onStatus,
      );
      expect(await refusal(write)).toMatch(/denied request/);
    }
  });

  test('of the spec and the metadata an agent changes nothing', async () => {
    const { metadata } = await ground.aMigration();
    const patch = {
      spec: { cancel: true },
      metadata: { annotations: { a: 'b' }, finalizers: ['vmferry.io/migration'] },
    };
    expect(await refusal(agents.source.mergePatch(virtualMachineMigrations, reference(metadata), patch))).toMatch(
      /cannot patch/,
    );
    await agents.source.mergePatch(virtualMachineMigrations, reference(metadata), patch, onStatus);
    const after = await admin.get<VirtualMachineMigration>(virtualMachineMigrations, reference(metadata));
    expect(after.spec.cancel).toBe(false);
    expect(after.metadata).toMatchObject({ uid: metadata.uid, generation: metadata.generation });
    expect(after.metadata.annotations ?? after.metadata.finalizers).toBeUndefined();
  });
});

describe('the status of a VM', () => {
  const report = { podUID: 'pod-on-a', runState: 'running', running: true, blockers: [], sequence: 1 };

  test('the agent of its node says how the guest is', async () => {
    const vm = await ground.aVirtualMachine();
    const { signal } = new AbortController();
    expect(await publishGuest(publishing(agents.source), vm, report, signal)).toBe(true);
    const { status } = await admin.get<VirtualMachine>(virtualMachines, reference(vm.metadata));
    expect(status).toEqual({ ...vm.status, guest: report });
  });

  const others =
    /The VM belongs to the agent of the node on which it is placed \(node-a\): this is the agent of node-b/;
  const controllers = /An agent writes status\.guest of a VM; the rest of its status belongs to the controller/;
  const refused: Refused[] = [
    ["another node's agent says that the guest is down", 'target', [add('guest', report)], others],
    ["another node's agent takes the VM", 'target', [add('placement/nodeName', 'node-b')], others],
    ['an agent lets go of the VM', 'source', [add('guest', report), remove('placement/podUID')], controllers],
    ['an agent locks the VM', 'source', [add('guest', report), add('migration', { name: 'm', uid: 'u' })], controllers],
    ['an agent declares the VM failed', 'source', [add('guest', report), add('phase', 'Failed')], controllers],
    [
      'an agent speaks of another pod',
      'source',
      [add('guest', { ...report, podUID: 'another' })],
      /status\.guest\.podUID must be status\.placement\.podUID/,
    ],
    ['who has a token that names no node speaks', 'unbound', [add('guest', report)], /names no node: use the one that/],
  ];
  test.each(refused)('%s: refused', async (_what, holder, operations, sentence) => {
    const { metadata } = await ground.aVirtualMachine();
    const write = agents[holder].jsonPatch(virtualMachines, reference(metadata), operations, onStatus);
    expect(await refusal(write)).toMatch(sentence);
  });

  test('an agent fences nobody', async () => {
    const { metadata } = await ground.aVirtualMachine();
    const patch = { metadata: { annotations: { 'vmferry.io/fenced': 'pod-on-a' } } };
    expect(await refusal(agents.source.mergePatch(virtualMachines, reference(metadata), patch))).toMatch(
      /cannot patch/,
    );
  });
});

describe('leases', () => {
  test('an agent keeps that of its node', async () => {
    await using _ = new PresenceLease({
      client: agents.source,
      namespace: systemNamespace,
      nodeName: 'node-a',
      identity: 'honest',
      logger: pino({ level: 'silent' }),
      renewMilliseconds: 50,
    });
    const reference = { namespace: systemNamespace, name: 'agent.node-a' };
    const renewTime = async () => (await admin.get(leases, reference).catch(() => undefined))?.spec?.renewTime;
    const first = await until('it is created', 10_000, renewTime);
    await until('it is renewed', 10_000, async () => ((await renewTime()) !== first ? true : undefined));
  });

  const own = /An agent keeps the lease of its own node alone: agent\.node-a/;
  test("an agent takes neither another's nor the leader's: refused", async () => {
    for (const name of ['agent.node-b', 'vmferry-controller']) {
      const lease = await ground.aLease(name);
      const taken = { ...lease, spec: { holderIdentity: 'thief', leaseDurationSeconds: 3600 } };
      expect(await refusal(agents.source.replace(leases, taken)), name).toMatch(own);
    }
  });

  test('an agent creates no other, under no other name, and nowhere else: refused', async () => {
    const create = (metadata: object, client = agents.source) => refusal(createLease(client, metadata));
    expect(await create({ namespace: systemNamespace, name: 'agent.node-c' })).toMatch(own);
    expect(await create({ namespace: systemNamespace, generateName: 'agent.node-a' })).toMatch(own);
    expect(await create({ namespace: 'kube-node-lease', name: 'agent.node-a' })).toMatch(
      /cannot create resource "leases"/,
    );
    expect(await create({ namespace: systemNamespace, name: 'agent.node-d' }, agents.unbound)).toMatch(/names no node/);
  });
});

test('an account of any other name that has the roles of an agent is held to its node like one', async () => {
  const { renamed } = agents;
  const [migration, vm] = [await ground.aMigration(), await ground.aVirtualMachine()];
  const aborted = [add('source/verdict', 'Aborted')];
  expect(
    await refusal(renamed.jsonPatch(virtualMachineMigrations, reference(migration.metadata), aborted, onStatus)),
  ).toMatch(/belong to the agent of the source node \(node-a\): this is the agent of node-c/);
  const failed = [add('phase', 'Failed')];
  expect(await refusal(renamed.jsonPatch(virtualMachines, reference(vm.metadata), failed, onStatus))).toMatch(
    /belongs to the agent of the node on which it is placed \(node-a\): this is the agent of node-c/,
  );
  for (const name of ['agent.node-b', 'vmferry-controller']) {
    const created = createLease(renamed, { namespace: systemNamespace, name });
    expect(await refusal(created), name).toMatch(/the lease of its own node alone: agent\.node-c/);
  }
  await createLease(renamed, { namespace: systemNamespace, name: 'agent.node-c' });
});

test('what no agent needs is closed to it, reading and writing', async () => {
  const requests: [ApiRequest['method'], string][] = [
    ['GET', '/api/v1/secrets'],
    ['GET', '/api/v1/namespaces/vmferry-system/configmaps'],
    ['GET', '/api/v1/nodes'],
    ['POST', '/api/v1/namespaces/default/pods/web-1/exec'],
    ['POST', '/api/v1/namespaces/default/pods'],
    ['PATCH', '/api/v1/namespaces/default/pods/web-1'],
    ['PATCH', '/api/v1/namespaces/default/pods/web-1/status'],
    ['DELETE', '/api/v1/namespaces/default/pods/web-1'],
    ['POST', `/api/v1/namespaces/${systemNamespace}/serviceaccounts/${account}/token`],
    ['DELETE', `/apis/coordination.k8s.io/v1/namespaces/${systemNamespace}/leases/vmferry-controller`],
    ['DELETE', '/apis/vmferry.io/v1alpha1/namespaces/default/virtualmachines/web'],
    ['DELETE', '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/vmferry-agent-leases'],
  ];
  for (const [method, path] of requests) {
    const body = method === 'POST' ? { body: {} } : {};
    const asked = agents.source.transport.request({ method, path, ...body, resourcePlural: '' });
    expect(await refusal(asked), `${method} ${path}`).toMatch(/is forbidden: User .* cannot/);
  }
});
