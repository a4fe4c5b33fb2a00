import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { cacheFolder, checkout, contentKey } from './cache.ts';
import { ensureGo } from './prerequisites.ts';

/** The programs a test cluster is made of; `vmferry-certs` writes its certificates. */
const programs = [
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kubectl',
  'vmferry-certs',
] as const;

const moduleFolder = path.join(checkout, 'test', 'cluster');

/**
 * The folder that holds the test cluster's programs: `KUBEBUILDER_ASSETS` when it has them all, else built from
 * `test/cluster` into the cache, once for each content of that Go module.
 *
 * @param report is told in one line what is going on, once a second, and only when something has to be built
 * @throws when Go is missing or the build fails, with the end of the compiler's output
 */
export async function ensureClusterBinaries(
  report: (line: string) => void = () => {},
  signal?: AbortSignal,
): Promise<string> {
  const assets = process.env.KUBEBUILDER_ASSETS;
  if (assets) {
    const missing = programs.filter((program) => !existsSync(path.join(assets, program)));
    if (missing.length === 0) return assets;
    report(`KUBEBUILDER_ASSETS lacks ${missing.join(', ')}: using the test cluster's own programs`);
  }
  const sources = readdirSync(moduleFolder).filter((file) => /^go\.(mod|sum)$|\.go$/.test(file));
  const key = contentKey(sources.map((file) => path.join('test', 'cluster', file)));
  const folder = path.join(cacheFolder(), `cluster-${key}`);
  if (!existsSync(folder)) await build(folder, report, signal);
  return folder;
}

/** `flock` lets one builder work and the others wait; the kernel drops the lock of a builder that died. */
const buildScript = `
set -e
[ ! -e "$FOLDER" ] || exit 0
rm -rf "$FOLDER.partial"
mkdir "$FOLDER.partial"
go build -v -buildvcs=false -trimpath -ldflags "$LDFLAGS" -o "$FOLDER.partial/cluster" .
for program in $PROGRAMS; do ln -s cluster "$FOLDER.partial/$program"; done
mv -T "$FOLDER.partial" "$FOLDER"
`;

async function build(folder: string, report: (line: string) => void, signal?: AbortSignal): Promise<void> {
  await ensureGo(moduleFolder);
  const started = Date.now();
  report('building the test cluster, once: about 700 MB to download and 5 minutes on two cores');
  const env = {
    ...process.env,
    CGO_ENABLED: '0',
    GOWORK: 'off',
    FOLDER: folder,
    PROGRAMS: programs.join(' '),
    LDFLAGS: linkerFlags(readFileSync(path.join(moduleFolder, 'go.mod'), 'utf8')),
  };
  const total = await countPackages(env);
  const child = spawn('flock', [`${folder}.lock`, 'sh', '-c', buildScript], {
    cwd: moduleFolder,
    env,
    stdio: ['ignore', 'ignore', 'pipe'],
    ...(signal && { signal }),
  });
  const lines: string[] = [];
  let compiled = 0;
  const elapsed = () => `${Math.round((Date.now() - started) / 1000)} s`;
  const ticker = setInterval(() => {
    report(`building the test cluster: ${compiled} of at most ${total} packages compiled, ${elapsed()}`);
  }, 1000);
  createInterface({ input: child.stderr }).on('line', (line) => {
    // `go build -v` prints the import path of each package that it compiles, alone on its line.
    if (/^[\w.~/-]+$/.test(line)) compiled += 1;
    else lines.push(line);
  });
  const [code] = await once(child, 'close').finally(() => clearInterval(ticker));
  if (code !== 0) throw new Error(`the test cluster does not build:\n${lines.slice(-20).join('\n')}`);
  report(`the test cluster is built (${elapsed()})`);
}

/** Downloads what is missing of the modules and counts the packages to compile. */
async function countPackages(env: NodeJS.ProcessEnv): Promise<number> {
  const { stdout } = await promisify(execFile)('go', ['list', '-deps', '.'], {
    cwd: moduleFolder,
    env,
    maxBuffer: 16 * 1024 * 1024,
  });
  return stdout.split('\n').length - 1;
}

/** Kubernetes' programs report the version they are linked with; without it they call themselves v0.0.0. */
function linkerFlags(goMod: string): string {
  const version = /k8s\.io\/kubernetes v(\d+)\.(\d+)\.\S+/.exec(goMod);
  if (!version) throw new Error('test/cluster/go.mod names no version of k8s.io/kubernetes');
  const variable = 'k8s.io/component-base/version.git';
  const values = {
    Version: version[0].replace(/.* /, ''),
    Major: version[1],
    Minor: version[2],
  };
  return ['-s -w', ...Object.entries(values).map(([name, value]) => `-X ${variable}${name}=${value}`)].join(' ');
}
