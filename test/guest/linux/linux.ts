import { copyFile, glob, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { builtFolder, nameOfContent } from '../built-folder.ts';
import { type OnProgress, resolveMetapackage, unpackPackages } from '../debian-packages.ts';
import { type InitramfsEntry, packInitramfs } from './initramfs.ts';

/** What QEMU needs to boot the Linux guest: `-kernel`, `-initrd`, `-append`. */
export interface LinuxGuest {
  readonly kernel: string;
  readonly initrd: string;
  readonly commandLine: string;
}

// Debian's and Ubuntu's smallest kernels for virtual machines.
const metapackages = ['linux-image-cloud-amd64', 'linux-image-virtual'];
// For the power button; where the distribution's kernel has them built in there is no such file.
const modules = ['kernel/drivers/acpi/button.ko{,.xz}', 'kernel/drivers/input/evdev.ko{,.xz}'];
const folders = ['bin', 'dev', 'proc', 'sys', 'memory', 'modules'];

/**
 * The Linux guest in the cache: the distribution's kernel and an initramfs of busybox and `init.sh`, which counts and
 * checks memory on ttyS0 and obeys the ACPI power button. Downloads about 30 MB the first time.
 *
 * @throws MissingPrerequisite when the distribution's packages cannot be had.
 */
export async function ensureLinuxGuest(onProgress: OnProgress = () => {}): Promise<LinuxGuest> {
  const init = await readFile(new URL('init.sh', import.meta.url));
  const packages = await builtFolder(`guest-linux-packages-${nameOfContent(...metapackages, ...modules)}`, (draft) =>
    unpackKernelAndBusybox(draft, onProgress),
  );
  const folder = await builtFolder(`guest-linux-${nameOfContent(init, basename(packages))}`, async (draft) => {
    onProgress('packing the Linux guest');
    await copyFile(join(packages, 'vmlinuz'), join(draft, 'vmlinuz'));
    await writeFile(join(draft, 'initrd.gz'), packInitramfs(await entries(packages, init)));
  });
  return {
    kernel: join(folder, 'vmlinuz'),
    initrd: join(folder, 'initrd.gz'),
    commandLine: 'console=ttyS0 quiet panic=-1',
  };
}

/** Leaves only the kernel, busybox and the modules in `folder`: the packages unpacked are ten times that. */
async function unpackKernelAndBusybox(folder: string, onProgress: OnProgress): Promise<void> {
  const kernel = await resolveMetapackage(metapackages, 'linux-image-', onProgress);
  const modulesPackage = kernel.replace('linux-image-', 'linux-modules-');
  const unpacked = join(folder, 'unpacked');
  const onUbuntu = kernel.endsWith('-generic');
  await unpackPackages(['busybox-static', kernel, ...(onUbuntu ? [modulesPackage] : [])], unpacked, onProgress);
  await copyFile(await only(unpacked, 'boot/vmlinuz-*'), join(folder, 'vmlinuz'));
  await copyFile(await only(unpacked, '{bin,usr/bin}/busybox'), join(folder, 'busybox'));
  for await (const file of glob(
    modules.map((path) => `{lib,usr/lib}/modules/*/${path}`),
    { cwd: unpacked },
  )) {
    await copyFile(join(unpacked, file), join(folder, basename(file)));
  }
  await rm(unpacked, { recursive: true });
}

async function only(folder: string, pattern: string): Promise<string> {
  for await (const file of glob(pattern, { cwd: folder })) return join(folder, file);
  throw new Error(`the packages unpacked in ${folder} have no ${pattern}`);
}

async function entries(packages: string, init: Uint8Array): Promise<readonly InitramfsEntry[]> {
  const found: InitramfsEntry[] = folders.map((path) => ({ path, mode: 0o040755 }));
  // Before devtmpfs is mounted the kernel wants a console for the first process.
  found.push({ path: 'dev/console', mode: 0o020600, device: { major: 5, minor: 1 } });
  found.push({ path: 'bin/busybox', mode: 0o100755, content: await readFile(join(packages, 'busybox')) });
  found.push({ path: 'init', mode: 0o100755, content: init });
  for await (const file of glob('*.ko{,.xz}', { cwd: packages })) {
    found.push({ path: `modules/${file}`, mode: 0o100644, content: await readFile(join(packages, file)) });
  }
  return found;
}
