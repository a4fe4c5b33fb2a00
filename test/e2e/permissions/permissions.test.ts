/**
 * Least privilege: over a life of VMs and migrations with everything in it that asks for a right, the API server refuses nothing, and
 * no right is left over. A new rule of a role therefore needs a use here, or a line among those that leave no trace.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { annotations } from '../../../src/api/labels.ts';
import { type AuditEntry, readAuditLog } from '../../cluster/audit-log.ts';
import { evict } from '../../cluster/evict.ts';
import { apply } from '../manifest-files.ts';
import { moveSlowly } from '../qemu-watch.ts';
import { apiVersion, System } from '../system.ts';
import { grantsOf, inWords, isUseOf, userName } from './grants.ts';
import { permissionsPage } from './page.ts';

const accounts = ['vmferry-controller', 'vmferry-agent'] as const;

/** Rights that no request of the account shows the use of, and what does. */
const withoutTrace: Readonly<Record<string, string>> = {
  'update virtualmachines.vmferry.io/finalizers':
    'asked for by the admission plugin OwnerReferencesPermissionEnforcement, which this cluster has: without it no VM pod could be created',
};

let system: System;
beforeAll(async () => {
  system = await System.start({ nodes: ['node-a', 'node-b', 'node-c'], audited: 'everything', webhook: true });
});
afterAll(() => system?.[Symbol.asyncDispose]());

describe('what the system does with its rights', () => {
  test('a VM is started and moved, and what moved it is removed in time', async () => {
    await system.startVirtualMachine('web', { totalMiB: 64, hotMiB: 1, dirtyMiBPerSecond: 1 });
    await system.migrate('moved', 'web');
    expect((await system.finished('moved')).status).toMatchObject({ phase: 'Succeeded' });
    await system.cluster.kubectl('patch', 'vmm', 'moved', '--type=merge', '-p', '{"spec":{"ttlAfterFinished":"0s"}}');
    await system.cluster.kubectl('wait', '--for=delete', 'vmm/moved', '--timeout=10s');
  });

  test('a migration is cancelled', async () => {
    await using _ = await moveSlowly(system, 'cancelled', 'web');
    await system.cluster.kubectl('patch', 'vmm', 'cancelled', '--type=merge', '-p', '{"spec":{"cancel":true}}');
    expect((await system.finished('cancelled')).status).toMatchObject({ phase: 'Cancelled' });
  });

  test('the target is lost with its node, and the next attempt succeeds while it comes back', async () => {
    await using sides = await moveSlowly(system, 'again', 'web', { backoffLimit: 1 });
    const node = system.node(sides.target.pod.spec.nodeName);
    await Promise.all([node.localnode.kill(), node.agent.kill()]);
    sides.target.kill();
    await Promise.all([node.localnode.restart(), node.agent.restart()]);
    await system.until('the second attempt has begun', async () =>
      (await system.migration('again')).status?.attempt === 2 ? true : undefined,
    );
    await system.speedUp('again');
    expect((await system.finished('again')).status).toMatchObject({ phase: 'Succeeded' });
  });

  test('no node is free: a VM is deleted before it ran, and a migration is removed by force while no controller looks', async () => {
    const { kubectl } = system.cluster;
    await kubectl('cordon', '-l', '!none');
    await apply(system.cluster, {
      apiVersion,
      kind: 'VirtualMachine',
      metadata: { name: 'unplaced' },
      spec: { memory: '32Mi', firmware: { bios: {} } },
    });
    await system.migrate('vanished', 'web');
    const lock = async () => (await system.virtualMachine('web')).status?.migration;
    await system.until('it has the VM', async () => ((await lock()) === undefined ? undefined : true));
    await system.until('it has a pod', async () =>
      (await system.pods()).some(({ metadata }) => metadata.name === 'unplaced-1') ? true : undefined,
    );
    await kubectl('delete', 'vm', 'unplaced', '--timeout=30s');
    await system.controller.kill('SIGTERM');
    await kubectl('patch', 'vmm', 'vanished', '--type=merge', '-p', '{"metadata":{"finalizers":null}}');
    await kubectl('delete', 'vmm', 'vanished');
    await system.controller.restart();
    await system.until('the VM is free', async () => ((await lock()) === undefined ? true : undefined));
    await kubectl('uncordon', '-l', '!none');
  });

  test("a VM's pod is evicted, and its disruption budget goes, comes back and is mended", async () => {
    const podName = (await system.virtualMachine('web')).status?.placement?.podName ?? '';
    expect((await evict(system.client, podName)).status).toBe(429);
    await system.until('it has moved', async () =>
      (await evict(system.client, podName)).status === 404 ? true : undefined,
    );
    const { kubectl } = system.cluster;
    const asks = (minAvailable: string) =>
      system.until(`its budget asks for ${minAvailable || 'nothing'}`, async () => {
        const found = await kubectl('get', 'pdb', '-o', 'jsonpath={.items[*].spec.minAvailable}');
        return found === minAvailable ? true : undefined;
      });
    await system.change('web', { evictionPolicy: 'Stop' });
    await asks('');
    await system.change('web', { evictionPolicy: 'LiveMigrate' });
    await asks('2');
    await kubectl('patch', 'pdb', 'vmferry-web', '--type=merge', '-p', '{"spec":{"minAvailable":3}}');
    await asks('2');
  });

  test('the same is told twice, and counted', async () => {
    const { kubectl } = system.cluster;
    const refused = async () =>
      (await system.virtualMachine('web')).status?.conditions?.some(({ reason }) => reason === 'FenceRefused');
    for (const change of ['=nobody', '-', '=nobody']) {
      await kubectl('annotate', 'vm', 'web', `${annotations.fenced}${change}`);
      const isWrong = change !== '-';
      await system.until('it is answered', async () => ((await refused()) === isWrong ? true : undefined));
    }
  });

  test('the VM is stopped, and so is the controller, in order', async () => {
    await system.change('web', { powerState: 'Stopped' });
    await system.reached('web', 'Stopped');
    await system.controller.kill('SIGTERM');
  });
});

describe.each(accounts)('%s', (account) => {
  const asked = async (): Promise<AuditEntry[]> =>
    (await readAuditLog(system.cluster.auditLog)).filter(({ user }) => user.username === userName(account));

  test('is refused nothing, neither for want of a right nor by a policy', async () => {
    const refused = (await asked()).filter(({ responseStatus }) => responseStatus?.code === 403);
    expect(new Set(refused.map(({ verb, objectRef }) => `${verb} ${JSON.stringify(objectRef)}`))).toEqual(new Set());
  });

  test('has no right that it does not use', async () => {
    const [grants, requests] = await Promise.all([grantsOf(system.cluster, account), asked()]);
    expect(grants.length).toBeGreaterThan(5);
    const unused = grants.filter((grant) => !requests.some((request) => isUseOf(request, grant))).map(inWords);
    expect(unused.filter((words) => withoutTrace[words] === undefined)).toEqual([]);
  });
});

test('what needs no excuse has none', async () => {
  const granted = await Promise.all(accounts.map((account) => grantsOf(system.cluster, account)));
  expect(granted.flat().map(inWords)).toEqual(expect.arrayContaining(Object.keys(withoutTrace)));
});

/** `npx vitest run test/e2e/permissions --update` writes it anew. */
test('docs/permissions.md shows what kubectl auth can-i says', async () => {
  await expect(await permissionsPage(system.cluster)).toMatchFileSnapshot('../../../docs/permissions.md');
});
