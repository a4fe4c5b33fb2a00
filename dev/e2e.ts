/**
 * `npm run e2e`: what users do, on real kubelets. Makes a cluster of kind with any container engine that answers, builds and loads the
 * images, and runs the cases of `test/e2e/kind`; removes everything at the end, also after Ctrl-C. With KUBECONFIG it uses that cluster,
 * which must have the images that VMFERRY_IMAGE and VMFERRY_QEMU_IMAGE name, and where no node is killed. `-- PATTERN` runs the files
 * whose names match, `--keep` leaves the cluster, `--out FOLDER` (e2e-results) is for what failed cases leave behind.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';
import { stringify } from 'yaml';
import { type Site, siteVariable } from '../test/e2e/kind/site.ts';
import { ensureGuest } from '../test/guest/guest.ts';
import { bundleOptions } from './bundle.ts';
import { checkout } from './cache.ts';
import { ContainerEngine } from './container-engine.ts';
import { imageArchives } from './images.ts';
import { KindCluster } from './kind.ts';
import { MissingPrerequisite } from './prerequisites.ts';
import { showProgress } from './progress.ts';
import { runVitest, summary, type VitestReport } from './vitest-run.ts';

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: { keep: { type: 'boolean', default: false }, out: { type: 'string', default: 'e2e-results' } },
});
const interrupted = new AbortController();
// vitest ends its tests and then itself; this process stays until then, to remove what it has made.
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.on(name, () => interrupted.abort(new MissingPrerequisite(`interrupted by ${name}`)));
const { signal } = interrupted;

interface Ground {
  readonly kubeconfig: string;
  readonly images: { readonly vmferry: string; readonly qemu: string };
  readonly nodes?: Site['nodes'];
}

/** A cluster that is there and has the images. */
function givenGround(kubeconfig: string): Ground {
  const { VMFERRY_IMAGE: vmferry, VMFERRY_QEMU_IMAGE: qemu } = process.env;
  if (!vmferry || !qemu) {
    throw new MissingPrerequisite(
      'KUBECONFIG names a cluster: VMFERRY_IMAGE and VMFERRY_QEMU_IMAGE must name images that its nodes can have.\n' +
        'Without KUBECONFIG, a cluster of kind is made.',
    );
  }
  return { kubeconfig, images: { vmferry, qemu } };
}

async function madeGround(folder: string, resources: AsyncDisposableStack): Promise<Ground> {
  const engine = await ContainerEngine.find();
  const archives = await imageArchives(engine, showProgress);
  signal.throwIfAborted();
  showProgress(`making a cluster of kind with ${engine.name}`);
  const kubeconfig = path.join(folder, 'kubeconfig');
  const defaultConfig = path.join(checkout, 'test/e2e/kind/cluster.yaml');
  const cluster = await KindCluster.create(engine, { kubeconfig, defaultConfig, stays: flags.keep, signal });
  if (flags.keep) console.log(`It stays: KUBECONFIG=${kubeconfig}; kind delete cluster --name ${cluster.name}`);
  else resources.use(cluster);
  for (const { reference, file } of archives) {
    showProgress(`loading ${reference}`);
    await cluster.load(file, signal);
  }
  const reference = (name: string) => archives.find(({ image }) => image === name)?.reference ?? '';
  return {
    kubeconfig,
    images: { vmferry: reference('vmferry'), qemu: reference('vmferry-qemu') },
    nodes: { engine: engine.name },
  };
}

/** The overlay for kind, with these images in place of those it names. */
async function writeKustomization(folder: string, { vmferry, qemu }: Ground['images']): Promise<string> {
  const kustomization = path.join(folder, 'manifests');
  await mkdir(kustomization);
  const colon = vmferry.lastIndexOf(':');
  const content = {
    resources: [path.relative(kustomization, path.join(checkout, 'deploy/manifests/overlays/kind'))],
    images: [{ name: 'localhost/vmferry', newName: vmferry.slice(0, colon), newTag: vmferry.slice(colon + 1) }],
    configMapGenerator: [
      {
        name: 'vmferry-settings',
        namespace: 'vmferry-system',
        behavior: 'merge',
        literals: [`qemu-image=${qemu}`],
      },
    ],
  };
  await writeFile(path.join(kustomization, 'kustomization.yaml'), stringify(content));
  return kustomization;
}

async function bundlePrograms(folder: string): Promise<string> {
  const entryPoints = ['console-recorder', 'bare-mover'].map((name) =>
    path.join(checkout, 'test/e2e/kind', `${name}.ts`),
  );
  const outdir = path.join(folder, 'programs');
  await build({ entryPoints, outdir, ...bundleOptions, splitting: false });
  return outdir;
}

async function e2e(folder: string, resources: AsyncDisposableStack) {
  await ensureGuest(showProgress);
  const { KUBECONFIG } = process.env;
  const ground = KUBECONFIG ? givenGround(KUBECONFIG) : await madeGround(folder, resources);
  const evidence = path.resolve(flags.out);
  await rm(evidence, { recursive: true, force: true });
  const site: Site = {
    kustomization: await writeKustomization(folder, ground.images),
    image: ground.images.vmferry,
    qemuImage: ground.images.qemu,
    programs: await bundlePrograms(folder),
    evidence,
    ...(ground.nodes && { nodes: ground.nodes }),
  };
  const env = { ...process.env, KUBECONFIG: ground.kubeconfig, [siteVariable]: JSON.stringify(site) };
  signal.throwIfAborted();
  return await runVitest(['--config', 'test/e2e/kind/vitest.config.ts', ...positionals], env);
}

function table(report: VitestReport): string {
  const cases = report.testResults.flatMap(({ assertionResults }) => assertionResults);
  return cases
    .flatMap(({ status, title, duration, meta }) => {
      const seconds = duration == null ? '' : `${(duration / 1000).toFixed(1)} s`;
      const measured = meta?.measured ?? [];
      return [
        `${status.padEnd(8)} ${seconds.padStart(8)}  ${title}`,
        ...measured.map((line) => `${' '.repeat(21)}${line}`),
      ];
    })
    .join('\n');
}

/** Below what was measured: a busy machine takes longer for everything. */
function busy(): string {
  const [, load = 0] = loadavg();
  return `The load of the last 5 minutes was ${load.toFixed(1)} on ${cpus().length} CPUs.`;
}

const begun = performance.now();
const folder = await mkdtemp(path.join(tmpdir(), 'vmferry-e2e-'));
const resources = new AsyncDisposableStack();
if (!flags.keep) resources.defer(() => rm(folder, { recursive: true, force: true }));
let counts = { passed: 0, failed: 1 };
try {
  const { counts: counted, report } = await e2e(folder, resources);
  counts = { ...counted };
  if (report) console.log(`\n${table(report)}\n${busy()}`);
} catch (error) {
  // What was going on when it was interrupted is no fault of it.
  const cause = signal.aborted ? signal.reason : error;
  console.error(cause instanceof MissingPrerequisite ? cause.message : cause);
} finally {
  await resources.disposeAsync();
}
console.log(`${Math.round((performance.now() - begun) / 1000)} s in all`);
const { line, exitCode } = summary([counts]);
console.log(line);
process.exitCode = exitCode;
