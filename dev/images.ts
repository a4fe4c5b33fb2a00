/**
 * `npm run images`: builds the images of `deploy/image/`. `-- --tag TAG` (dev), `--prefix PREFIX` (localhost/). They are the images that
 * `deploy/manifests/overlays/kind` names.
 */
import { existsSync } from 'node:fs';
import { cp, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { bundle, bundledFiles } from './bundle.ts';
import { cacheFolder, checkout, contentKey } from './cache.ts';
import { ContainerEngine } from './container-engine.ts';

/** Each is made from the folder of its name in `deploy/image/`. */
const images = ['vmferry', 'vmferry-qemu'] as const;
type Image = (typeof images)[number];

const imageFolder = (image: Image) => path.join(checkout, 'deploy/image', image);

/** Twelve digits that name an image's content, as far as this checkout decides on it. */
function keyOf(image: Image): string {
  const dockerfile = `deploy/image/${image}/Dockerfile`;
  return contentKey(image === 'vmferry' ? [dockerfile, ...bundledFiles()] : [dockerfile]);
}

/** Programs are bundled outside of the image: what builds them stays out of it. */
async function buildImage(engine: ContainerEngine, image: Image, reference: string): Promise<void> {
  const context = await mkdtemp(path.join(tmpdir(), 'vmferry-image-'));
  try {
    await cp(imageFolder(image), context, { recursive: true });
    if (image === 'vmferry') {
      for (const program of ['controller', 'agent'] as const)
        await cp(path.dirname(await bundle(program)), path.join(context, program), { recursive: true });
    }
    // The network of this machine, for the distribution's packages: a mirror or a proxy may be known to it only.
    await engine.run('build', '--force-rm', '--network', 'host', '--tag', reference, context);
    await engine.run('image', 'prune', '--force', '--filter', 'label=io.vmferry.stage');
  } finally {
    await rm(context, { recursive: true, force: true });
  }
}

export interface ImageArchive {
  readonly image: Image;
  /** As manifests name it. */
  readonly reference: string;
  readonly file: string;
}

/**
 * The images as files in the cache, named by their content and built when they are not there yet; the engine keeps none of them.
 */
export async function imageArchives(
  engine: ContainerEngine,
  onProgress: (line: string) => void,
): Promise<ImageArchive[]> {
  const archives: ImageArchive[] = [];
  for (const image of images) {
    const key = keyOf(image);
    const reference = `localhost/${image}:${key}`;
    const file = path.join(cacheFolder('images'), `${image}-${key}.tar`);
    if (!existsSync(file)) {
      onProgress(`building the image ${reference}`);
      const draft = `${file}.${process.pid}`;
      try {
        await buildImage(engine, image, reference);
        await engine.run('save', '--output', draft, reference);
        await rename(draft, file);
        await removeAllButNewest(image);
      } finally {
        await rm(draft, { force: true });
        await engine.run('image', 'rm', reference).catch(() => undefined); // not built
      }
    }
    archives.push({ image, reference, file });
  }
  return archives;
}

/** They are large, and each change of the sources makes another. */
async function removeAllButNewest(image: Image): Promise<void> {
  const folder = cacheFolder('images');
  // One image's name begins another's.
  const names = (await readdir(folder)).filter((name) => new RegExp(`^${image}-[0-9a-f]+\\.tar$`).test(name));
  const files = await Promise.all(
    names.map(async (name) => ({ name, time: (await stat(path.join(folder, name))).mtimeMs })),
  );
  const old = files.sort((a, b) => b.time - a.time).slice(3);
  for (const { name } of old) await rm(path.join(folder, name), { force: true });
}

async function main(): Promise<void> {
  const { values: flags } = parseArgs({
    options: { tag: { type: 'string', default: 'dev' }, prefix: { type: 'string', default: 'localhost/' } },
  });
  const engine = await ContainerEngine.find();
  for (const image of images) {
    const reference = `${flags.prefix}${image}:${flags.tag}`;
    await buildImage(engine, image, reference);
    const bytes = Number(await engine.run('image', 'inspect', '--format', '{{.Size}}', reference));
    console.log(`${reference}  ${Math.round(bytes / 1e6)} MB`);
  }
}

if (import.meta.main) await main();
