import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheFolder } from '../../dev/cache.ts';

/** A short name for content: equal content, equal name. */
export function nameOfContent(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex').slice(0, 12);
}

/**
 * The folder `name` in the cache, made by `build` when it is not there yet. It appears in one piece: two processes may
 * build it at the same time, and one that is interrupted leaves nothing that looks finished.
 */
export async function builtFolder(name: string, build: (folder: string) => Promise<void>): Promise<string> {
  const cache = cacheFolder();
  const folder = join(cache, name);
  if (existsSync(folder)) return folder;
  const draft = await mkdtemp(join(cache, `.${name}-`));
  try {
    await build(draft);
    await chmod(draft, 0o755); // QEMU may run as somebody else
    await rename(draft, folder);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    if (!existsSync(folder)) throw error;
  }
  return folder;
}
