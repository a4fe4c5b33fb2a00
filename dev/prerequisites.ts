import { execFile, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Something the machine lacks and only its owner can add; the message says what and how, in one or two lines. */
export class MissingPrerequisite extends Error {
  readonly code = 'MissingPrerequisite';
}

/** A program and the Debian and Ubuntu package that brings it. */
interface Need {
  program: string;
  package: string;
}

const qemu: Need[] = [{ program: 'qemu-system-x86_64', package: 'qemu-system-x86' }];
const network: Need[] = [
  { program: 'ip', package: 'iproute2' },
  { program: 'nsenter', package: 'util-linux' },
];

/** QEMU, installed by apt when it is missing and the user is root. */
export const ensureQemu = (report: (line: string) => void): Promise<void> => ensurePrograms(qemu, report);

/** What network namespaces need; only root uses them, so nobody else is asked for anything. */
export const ensureNetworkTools = async (report: (line: string) => void): Promise<void> => {
  if (process.getuid?.() === 0) await ensurePrograms(network, report);
};

/** What cuts a network in one direction without its ends noticing. */
export const ensureNetworkCuts = (report: (line: string) => void): Promise<void> =>
  ensurePrograms([{ program: 'nft', package: 'nftables' }], report);

/** Programs that later parts need, as `{ program, package }`; see {@link ensureQemu} for what happens to missing ones. */
export async function ensurePrograms(needs: Need[], report: (line: string) => void): Promise<void> {
  const missing = needs.filter(({ program }) => !onPath(program));
  if (missing.length > 0) await installPackages([...new Set(missing.map((need) => need.package))], report);
}

async function installPackages(packages: string[], report: (line: string) => void): Promise<void> {
  const command = `apt-get install --yes --no-install-recommends ${packages.join(' ')}`;
  if (!onPath('apt-get')) {
    throw new MissingPrerequisite(`This needs ${packages.join(' and ')} (the names are Debian's): please install it.`);
  }
  if (process.getuid?.() !== 0) {
    throw new MissingPrerequisite(
      `This needs ${packages.join(' and ')}. Please run:\n  sudo sh -c 'apt-get update && ${command}'`,
    );
  }
  report(`installing ${packages.join(', ')} (${command})`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  if (packages.some((name) => spawnSync('apt-cache', ['show', name]).status !== 0)) await apt('update', env);
  try {
    await apt(command.replace('apt-get ', ''), env);
  } catch {
    // The package list may be older than the mirror's files: refresh it once.
    await apt('update', env);
    await apt(command.replace('apt-get ', ''), env);
  }
}

async function apt(command: string, env: NodeJS.ProcessEnv): Promise<void> {
  try {
    await run('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=120', ...command.split(' ')], {
      env,
      maxBuffer: 64 * 1024 * 1024,
    });
  } catch (cause) {
    const output = cause instanceof Error && 'stderr' in cause ? String(cause.stderr).trim() : String(cause);
    throw new MissingPrerequisite(`apt-get ${command} failed:\n${output}`, { cause });
  }
}

const oldestGo = [1, 24] as const;

/** Checks for Go as the module in this folder sees it: since 1.21 Go fetches a newer toolchain when the module asks. */
export async function ensureGo(moduleFolder: string): Promise<void> {
  const wanted = `Go ${oldestGo.join('.')} or newer, which builds the test cluster once (https://go.dev/dl)`;
  const version = await run('go', ['env', 'GOVERSION'], { cwd: moduleFolder }).then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  );
  const [, major, minor] = /^go(\d+)\.(\d+)/.exec(version ?? '') ?? [];
  if (!major) throw new MissingPrerequisite(`This needs ${wanted}. No working \`go\` was found on the PATH.`);
  if (Number(major) < oldestGo[0] || (Number(major) === oldestGo[0] && Number(minor) < oldestGo[1])) {
    throw new MissingPrerequisite(`This needs ${wanted}. Found ${version}.`);
  }
}

function onPath(program: string): boolean {
  // Debian's users other than root lack the sbin folders on their PATH, where `ip` is.
  const folders = [...(process.env.PATH ?? '').split(path.delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => isExecutable(path.join(folder, program)));
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
