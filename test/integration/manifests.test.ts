/** What `kubectl` makes of the manifests: that each folder is one, and that its parts name each other. */
import { execFile } from 'node:child_process';
import { mkdtempDisposable, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { ensureClusterBinaries } from '../../dev/build-cluster.ts';
import { checkout } from '../../dev/cache.ts';
import { parseFlags } from '../../src/controller/flags.ts';

interface Manifest {
  kind: string;
  metadata: { name: string; labels?: Record<string, string> };
  spec?: unknown;
}
interface Workload {
  template: {
    metadata: { labels: Record<string, string> };
    spec: { containers: { image: string; args: string[]; ports: { name: string; containerPort: number }[] }[] };
  };
}

const manifests = path.join(checkout, 'deploy/manifests');
let kubectl: string;
beforeAll(async () => {
  kubectl = path.join(await ensureClusterBinaries(() => undefined), 'kubectl');
});

async function built(folder: string): Promise<Manifest[]> {
  const { stdout } = await promisify(execFile)(kubectl, ['kustomize', folder], { maxBuffer: 16 * 1024 * 1024 });
  return parseAllDocuments(stdout).map((document) => document.toJS() as Manifest);
}

/** As an operator would write it, beside the overlays that there are. */
async function overlaid(kustomization: string): Promise<Manifest[]> {
  await using folder = await mkdtempDisposable(path.join(tmpdir(), 'vmferry-overlay-'));
  const up = path.relative(folder.path, manifests);
  await writeFile(path.join(folder.path, 'kustomization.yaml'), kustomization.replaceAll('../..', up));
  return await built(folder.path);
}

const names = (built: readonly Manifest[]) => built.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
const workloads = (built: readonly Manifest[]) =>
  built.filter(({ kind }) => ['Deployment', 'DaemonSet'].includes(kind)).map(({ spec }) => (spec as Workload).template);

test.each(['base', 'access', 'overlays/kind'])('kubectl builds %s', async (folder) => {
  expect(names(await built(path.join(manifests, folder)))).toContain('Namespace vmferry-system');
});

describe('with the component for Prometheus', () => {
  let all: Manifest[];
  const found = <Spec>(kind: string, name: string) => {
    const { spec, metadata } = all.find((each) => each.kind === kind && each.metadata.name === name) ?? {};
    return { spec: spec as Spec, labels: metadata?.labels };
  };
  beforeAll(async () => {
    all = await overlaid('resources: [../../base]\ncomponents: [../../components/prometheus]\n');
  });

  test('nothing is there but what the base has, a Service and a monitor', async () => {
    const base = names(await built(path.join(manifests, 'base')));
    expect(new Set(names(all))).toEqual(new Set([...base, 'Service vmferry-metrics', 'ServiceMonitor vmferry']));
  });

  test('the monitor finds the Service, and that the metrics of controller and agents', () => {
    type Selecting = { selector: { matchLabels: object }; endpoints: { port: string }[] };
    type Serving = { selector: object; ports: { name: string; targetPort: string }[] };
    const monitor = found<Selecting>('ServiceMonitor', 'vmferry');
    const service = found<Serving>('Service', 'vmferry-metrics');
    expect(service.labels).toMatchObject(monitor.spec.selector.matchLabels);
    expect(found('Service', 'vmferry-webhook').labels ?? {}).not.toMatchObject(monitor.spec.selector.matchLabels);
    expect(service.spec.ports.map(({ name }) => name)).toEqual(monitor.spec.endpoints.map(({ port }) => port));
    const targets = workloads(all);
    expect(targets).toHaveLength(2);
    for (const { metadata, spec } of targets) {
      expect(metadata.labels).toMatchObject(service.spec.selector);
      const ports = spec.containers.flatMap((container) => container.ports.map(({ name }) => name));
      expect(ports).toEqual(expect.arrayContaining(service.spec.ports.map(({ targetPort }) => targetPort)));
    }
  });
});

test('the overlay that docs/operations.md shows has its images, and flags that the controller takes', async () => {
  const page = await readFile(path.join(checkout, 'docs/operations.md'), 'utf8');
  const [, shown = ''] = /```yaml\n(.*?)```/s.exec(page) ?? [];
  const all = await overlaid(shown);
  const containers = workloads(all).flatMap(({ spec }) => spec.containers);
  expect(containers.map(({ image }) => image)).toEqual(['REGISTRY/vmferry:TAG', 'REGISTRY/vmferry:TAG']);
  const settings = { '$(QEMU_IMAGE)': 'qemu', '$(ACCELERATOR)': 'kvm' };
  const [controller] = containers.filter(({ args }) => args[0]?.includes('controller'));
  const args = (controller?.args ?? []).map((arg) =>
    Object.entries(settings).reduce((text, [variable, value]) => text.replace(variable, value), arg),
  );
  expect(parseFlags(args.slice(1))).toMatchObject({
    kvmResource: 'devices.kubevirt.io/kvm',
    migrationLimits: { perCluster: 10 },
  });
});
