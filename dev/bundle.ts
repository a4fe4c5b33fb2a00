import { existsSync, globSync } from 'node:fs';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { type BuildOptions, build } from 'esbuild';
import { cacheFolder, checkout, contentKey, removeOld } from './cache.ts';

/** A process of the product, in `src/<name>/main.ts`. */
export type Program = 'agent' | 'controller' | 'localnode';

/** How everything that ships is bundled. */
export const bundleOptions = {
  outExtension: { '.js': '.mjs' },
  bundle: true,
  splitting: true,
  platform: 'node',
  target: 'node24',
  format: 'esm',
  // Libraries in CommonJS look for `require`, which an ES module does not have.
  banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  legalComments: 'none',
  logLevel: 'silent', // the error that is thrown says it all
} as const satisfies BuildOptions;

/** What a bundle's content depends on, from the checkout's root. */
export function bundledFiles(): string[] {
  const sources = globSync('src/**/*.ts', { cwd: checkout, exclude: (file) => file.endsWith('.test.ts') });
  return [...sources, 'package-lock.json', 'dev/bundle.ts'];
}

const building = new Map<string, Promise<void>>();

/**
 * A program with all its libraries, as it ships: it starts faster than the sources and needs less memory. What is imported only
 * on demand (the client library's credential plugins, 50 MiB of memory) is a file of its own beside it, and costs nothing until
 * then. Kept in the cache for each content of `src/` and the lock file, so a second call does no work.
 */
export async function bundle(program: Program): Promise<string> {
  const key = contentKey(bundledFiles());
  const file = path.join(cacheFolder('bundles', key), program, 'main.mjs');
  if (existsSync(file)) return file;
  const work = building.get(file) ?? buildBundle(program, file);
  building.set(file, work);
  await work.finally(() => building.delete(file));
  return file;
}

async function buildBundle(program: Program, file: string): Promise<void> {
  await removeOld('bundles');
  const folder = path.dirname(file);
  const draft = await mkdtemp(path.join(folder, '..', '.draft-'));
  try {
    await build({
      entryPoints: [path.join(checkout, 'src', program, 'main.ts')],
      outdir: draft,
      ...bundleOptions,
    });
    // Another process may have been faster with the same content.
    await rename(draft, folder).catch((error: unknown) => {
      if (!existsSync(file)) throw error;
    });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
}
