import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkout } from '../../dev/cache.ts';
import { type Cluster, startCluster } from './cluster.ts';
import { beginRun, endRun, processesIn } from './run-registry.ts';
import { until } from './waiting.ts';

const isRoot = process.getuid?.() === 0;
if (!isRoot) console.warn('SKIPPED: network namespaces need root; the cluster is tested on loopback addresses only');

for (const network of ['loopback', 'namespaces'] as const)
  describe.skipIf(network === 'namespaces' && !isRoot)(`a cluster on ${network}`, () => {
    let cluster: Cluster;
    beforeAll(async () => {
      cluster = await startCluster({ network });
    });
    afterAll(async () => {
      await cluster[Symbol.asyncDispose]();
      await untilNothingIsLeft(cluster.directory);
    });

    test('serves the custom resources', async () => {
      expect(await cluster.kubectl('get', 'vm,vmm', '--all-namespaces', '--output=name')).toBe('');
    });

    test('schedules a pod to a node that became ready', async () => {
      await cluster.apply(node, pod);
      await cluster.kubectl('patch', 'node/fake', '--subresource=status', '--patch', JSON.stringify(readyStatus));
      await cluster.kubectl('wait', '--for=condition=PodScheduled', 'pod/waiting', '--timeout=60s');
      expect(await cluster.kubectl('get', 'pod/waiting', '--output=jsonpath={.spec.nodeName}')).toBe('fake');
    });

    test('collects what a deleted owner leaves behind', async () => {
      const owner = configMap('owner');
      await cluster.apply(owner);
      const uid = await cluster.kubectl('get', 'configmap/owner', '--output=jsonpath={.metadata.uid}');
      const ownerReferences = [{ apiVersion: 'v1', kind: 'ConfigMap', name: 'owner', uid }];
      const owned = configMap('owned');
      await cluster.apply({ ...owned, metadata: { ...owned.metadata, ownerReferences } });
      await cluster.kubectl('delete', 'configmap/owner');
      await cluster.kubectl('wait', '--for=delete', 'configmap/owned', '--timeout=60s');
    });

    test('keeps its objects over a restart of the API server', async () => {
      await cluster.apply(configMap('kept'));
      await cluster.stopApiServer();
      await expect(cluster.kubectl('get', 'configmap/kept')).rejects.toThrow(/connection.*refused/);
      await cluster.startApiServer();
      expect(await cluster.kubectl('get', 'configmap/kept', '--output=name')).toBe('configmap/kept\n');
    });

    test('says what kubectl complains about', async () => {
      await expect(cluster.kubectl('get', 'nonsense')).rejects.toThrow(
        'kubectl get nonsense: error: the server doesn\'t have a resource type "nonsense"',
      );
    });
  });

test('a start that is given up leaves nothing', async () => {
  const directory = await mkdtemp(path.join(tmpdir(), 'vmferry-given-up-'));
  const interruption = new AbortController();
  const starting = startCluster({ directory, signal: interruption.signal });
  await until('etcd runs', 60_000, () => processesIn(directory).length > 0 || undefined);
  interruption.abort(new Error('given up'));
  await expect(starting).rejects.toThrow('given up');
  expect(processesIn(directory)).toEqual([]);
  await rm(directory, { recursive: true });
});

describe('when the harness dies', () => {
  test('an interrupt ends the cluster first', async () => {
    const { harness, directory } = await harnessWithCluster();
    harness.kill('SIGINT');
    expect(await once(harness, 'exit')).toEqual([null, 'SIGINT']);
    await untilNothingIsLeft(directory);
  });

  test('a kill ends its processes, and the next run removes the rest', async () => {
    const { harness, directory } = await harnessWithCluster();
    // Stands for a QEMU, which is not the harness's child and survives it.
    const survivor = spawn('sleep', ['1000'], { cwd: directory, detached: true, stdio: 'ignore' });
    harness.kill('SIGKILL');
    await once(harness, 'exit');
    await until('all but the survivor ended', 10_000, () => processesIn(directory).length === 1 || undefined);
    const survivorEnded = once(survivor, 'exit');
    endRun(beginRun()); // a run of nothing
    await survivorEnded;
    await untilNothingIsLeft(directory);
  });
});

async function harnessWithCluster() {
  const program = `
    import { startCluster } from ${JSON.stringify(path.join(checkout, 'test/cluster/cluster.ts'))};
    const cluster = await startCluster();
    console.log(cluster.directory);
    await new Promise(() => setInterval(() => {}, 1000));`;
  const harness = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [directory] = (await once(createInterface({ input: harness.stdout }), 'line')) as [string];
  return { harness, directory };
}

/** A namespace's name goes at once, its links some milliseconds later. */
async function untilNothingIsLeft(directory: string): Promise<void> {
  expect(processesIn(directory)).toEqual([]);
  expect(existsSync(directory)).toBe(false);
  expect(existsSync(`${directory}.json`)).toBe(false);
  const id = path.basename(directory);
  await until('its links are gone', 10_000, () => {
    const names = ['/run/netns', '/sys/class/net'].flatMap((folder) => (existsSync(folder) ? readdirSync(folder) : []));
    return names.every((name) => !name.includes(id)) || undefined;
  });
}

const configMap = (name: string) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'default' },
});

const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'fake' } };

const readyStatus = {
  status: {
    capacity: { cpu: '4', memory: '4Gi', pods: '10' },
    allocatable: { cpu: '4', memory: '4Gi', pods: '10' },
    conditions: [
      {
        type: 'Ready',
        status: 'True',
        reason: 'Test',
        message: 'says it is ready',
        lastHeartbeatTime: new Date().toISOString(),
        lastTransitionTime: new Date().toISOString(),
      },
    ],
  },
};

const pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'waiting', namespace: 'default' },
  spec: { containers: [{ name: 'main', image: 'none.invalid/none' }] },
};
