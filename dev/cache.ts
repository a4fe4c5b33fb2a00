import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';

/** The root of the checkout. */
export const checkout = path.resolve(import.meta.dirname, '..');

/**
 * A folder of vmferry's cache, made when it is missing: `$XDG_CACHE_HOME/vmferry/...`, outside the checkout so that it
 * survives a fresh clone.
 */
export function cacheFolder(...names: string[]): string {
  const folder = path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'vmferry', ...names);
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** Twelve hex digits that name the content of these files (paths from the checkout's root), whatever their order. */
export function contentKey(files: string[], salt = ''): string {
  const hash = createHash('sha256').update(salt);
  for (const file of [...files].sort()) {
    const content = createHash('sha256')
      .update(readFileSync(path.join(checkout, file)))
      .digest('hex');
    hash.update(`${file} ${content}\n`);
  }
  return hash.digest('hex').slice(0, 12);
}

/** Removes what is older than a week from a folder of the cache: every change makes something new, and the old is not asked for again. */
export async function removeOld(name: string): Promise<void> {
  const folder = cacheFolder(name);
  for (const entry of await readdir(folder)) {
    const file = path.join(folder, entry);
    const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: Date.now() })); // another process was faster
    if (Date.now() - mtimeMs > 7 * 24 * 60 * 60 * 1000) await rm(file, { recursive: true, force: true });
  }
}
