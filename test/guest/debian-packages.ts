import { execFile } from 'node:child_process';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { MissingPrerequisite } from '../../dev/prerequisites.ts';

const run = promisify(execFile);

/** Called with one line for people, before each step that may take long. */
export type OnProgress = (line: string) => void;

/**
 * Unpacks packages of the distribution (Debian, Ubuntu) into `folder` without installing them, so it needs no root and
 * changes nothing of the machine.
 *
 * @throws MissingPrerequisite with what a person can do about it.
 */
export async function unpackPackages(names: readonly string[], folder: string, onProgress: OnProgress): Promise<void> {
  onProgress(`downloading ${names.join(', ')}`);
  const downloads = join(folder, '.downloads');
  await mkdir(downloads, { recursive: true });
  await withPackageLists(onProgress, () => apt('apt-get', ['download', '-qq', ...names], downloads));
  for (const file of await readdir(downloads)) {
    await run('dpkg-deb', ['--extract', join(downloads, file), folder]);
  }
  await rm(downloads, { recursive: true });
}

/**
 * The package that a metapackage stands for: the first dependency whose name starts with `prefix`, of the first of
 * `metapackages` that the distribution has.
 */
export async function resolveMetapackage(
  metapackages: readonly string[],
  prefix: string,
  onProgress: OnProgress,
): Promise<string> {
  return withPackageLists(onProgress, async () => {
    for (const name of metapackages) {
      const listing = await apt('apt-cache', ['depends', name]).catch(() => '');
      const found = [...listing.matchAll(/Depends: (\S+)/g)].map((match) => match[1] ?? '');
      const dependency = found.find((candidate) => candidate.startsWith(prefix));
      if (dependency !== undefined) return dependency;
    }
    throw new MissingPrerequisite(`none of the packages ${metapackages.join(', ')} is known to apt`);
  });
}

/** Package lists may be missing (a fresh container) or older than the mirror: get them once and try again, if we may. */
async function withPackageLists<T>(onProgress: OnProgress, attempt: () => Promise<T>): Promise<T> {
  if (!(await hasApt())) {
    throw new MissingPrerequisite('The guests are made of packages of Debian or Ubuntu, and there is no apt-get here.');
  }
  try {
    return await attempt();
  } catch (cause) {
    if (process.getuid?.() !== 0) {
      throw new MissingPrerequisite(
        'The guest needs a package that apt cannot find. Please run:\n  sudo apt-get update',
        { cause },
      );
    }
    onProgress('apt-get update');
    await apt('apt-get', ['update', '-qq']);
    return attempt();
  }
}

const hasApt = () =>
  run('apt-get', ['--version']).then(
    () => true,
    () => false,
  );

async function apt(command: string, args: readonly string[], cwd = '/'): Promise<string> {
  try {
    return (await run(command, args, { cwd, env: { ...process.env, LC_ALL: 'C' } })).stdout;
  } catch (cause) {
    throw new MissingPrerequisite(`${command} ${args.join(' ')} failed`, { cause });
  }
}
