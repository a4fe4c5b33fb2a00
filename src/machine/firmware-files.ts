import type { HardwareDefinition } from './hardware.ts';

/** A file of the node that QEMU boots from. Its path in the pod reaches the command line through an environment variable. */
export interface FirmwareFile {
  readonly variable: 'KERNEL' | 'INITRD' | 'BIOS';
  /** Of the pod's volume. */
  readonly volumeName: string;
  readonly hostPath: string;
  readonly mountPath: string;
}

export function firmwareFiles({ kernel, bios }: HardwareDefinition['firmware']): FirmwareFile[] {
  const files = [
    { variable: 'KERNEL', hostPath: kernel?.image.hostPath },
    { variable: 'INITRD', hostPath: kernel?.initrd?.hostPath },
    { variable: 'BIOS', hostPath: bios?.image?.hostPath },
  ] as const;
  return files.flatMap(({ variable, hostPath }) => {
    if (hostPath === undefined) return [];
    const volumeName = variable.toLowerCase();
    return [{ variable, volumeName, hostPath, mountPath: `/vmferry/${volumeName}` }];
  });
}
