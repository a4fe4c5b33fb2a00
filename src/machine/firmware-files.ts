/** The files that QEMU boots from, as volumes of its pod. */
import { canonicalJson } from './canonical-json.ts';
import type { HardwareDefinition } from './hardware.ts';

/** Where a VM's owner has put a file; the API lets exactly one of them be set. */
type FirmwareFileSource = NonNullable<NonNullable<HardwareDefinition['firmware']['bios']>['image']>;

/** The path of a file in the pod reaches the command line through an environment variable. */
export interface FirmwareFile {
  readonly variable: 'KERNEL' | 'INITRD' | 'BIOS';
  readonly path: string;
  readonly volume: FirmwareVolume;
  /** Of the volume. */
  readonly mountPath: string;
}

export type FirmwareVolume = { readonly name: string } & (
  | { readonly hostPath: { path: string; type: 'File' } }
  | { readonly configMap: { name: string } }
  | { readonly persistentVolumeClaim: { claimName: string; readOnly: true } }
);

/** Files of one ConfigMap or claim share a volume: the kubelet does not mount the same claim twice. */
export function firmwareFiles({ kernel, bios }: HardwareDefinition['firmware']): FirmwareFile[] {
  const sources = [
    { variable: 'KERNEL', source: kernel?.image },
    { variable: 'INITRD', source: kernel?.initrd },
    { variable: 'BIOS', source: bios?.image },
  ] as const;
  const volumes = new Map<string, string>();
  return sources.flatMap(({ variable, source }) => {
    const found = source === undefined ? undefined : volumeOf(source);
    if (found === undefined) return [];
    const key = canonicalJson(found.volume);
    const name = volumes.get(key) ?? variable.toLowerCase();
    volumes.set(key, name);
    const mountPath = `/vmferry/${name}`;
    return [{ variable, path: mountPath + found.below, volume: { name, ...found.volume }, mountPath }];
  });
}

/** The volume, and the file's path below its mount. */
function volumeOf({ hostPath, configMap, persistentVolumeClaim }: FirmwareFileSource) {
  if (hostPath !== undefined) return { volume: { hostPath: { path: hostPath, type: 'File' as const } }, below: '' };
  if (configMap !== undefined) return { volume: { configMap: { name: configMap.name } }, below: `/${configMap.key}` };
  if (persistentVolumeClaim === undefined) return undefined;
  const { claimName, path } = persistentVolumeClaim;
  return { volume: { persistentVolumeClaim: { claimName, readOnly: true as const } }, below: `/${path}` };
}
