/** What the guest sees of its machine, frozen from start to stop: every QEMU of the VM is made from it. */
import { createHash } from 'node:crypto';
import type { VirtualMachineSpec } from '../api/virtual-machine.gen.ts';
import { canonicalJson } from './canonical-json.ts';
import { resolveMachineType } from './machine-types.ts';
import { parseQuantity } from './quantity.ts';
import { applyQuirks, type HardwareDefinition, type HardwareDraft } from './quirks.ts';

export type { HardwareDefinition } from './quirks.ts';

export interface HardwareSource {
  readonly uid: string;
  readonly spec: VirtualMachineSpec;
  /** The versioned machine type of the VM's last start. */
  readonly frozenMachineType?: string;
}

type Networks = NonNullable<VirtualMachineSpec['networks']>;

/**
 * Slots 0x10 to 0x17 of the root bus: the API allows eight networks. The slots below stay free for other devices, those above
 * 0x18 belong to the chipset.
 */
const firstNetworkSlot = 0x10;

/**
 * The machine that a start of this VM builds now. Pure: the same VM gives the same definition and hash.
 * @throws InvalidQuantity when `spec.memory` is none.
 */
export function defineHardware(vm: HardwareSource, options: { accelerator: 'kvm' | 'tcg' }): HardwareDefinition {
  const { uid, spec, frozenMachineType } = vm;
  const definition = applyQuirks({
    machineType: resolveMachineType(spec.machineType, frozenMachineType),
    accelerator: options.accelerator,
    uuid: uid,
    cpu: { model: spec.cpu?.model ?? 'qemu64', cores: spec.cpu?.cores ?? 1 },
    memoryBytes: parseQuantity(spec.memory),
    firmware: defineFirmware(spec.firmware),
    networks: defineNetworks(uid, spec.networks ?? []),
  });
  return { hash: hardwareHash(definition), ...definition };
}

/** SHA-256 in hexadecimal; independent of the order of members, as the API server may return them in any. */
export function hardwareHash(definition: HardwareDraft): string {
  return createHash('sha256').update(canonicalJson(definition)).digest('hex');
}

function defineFirmware({ kernel, bios }: VirtualMachineSpec['firmware']): HardwareDefinition['firmware'] {
  if (kernel === undefined) return bios === undefined ? {} : { bios };
  return { kernel: { ...kernel, commandLine: kernel.commandLine ?? '' } };
}

function defineNetworks(uid: string, networks: Networks): HardwareDefinition['networks'] {
  return networks.map(({ name, macAddress }, index) => ({
    name,
    macAddress: macAddress ?? derivedMacAddress(uid, name),
    pciAddress: `0x${(firstNetworkSlot + index).toString(16)}`,
  }));
}

/** In QEMU's own range 52:54:00, which is locally administered and unicast. */
function derivedMacAddress(uid: string, network: string): string {
  const digest = createHash('sha256').update(`${uid}/${network}`).digest();
  return ['52', '54', '00', ...[...digest.subarray(0, 3)].map((byte) => byte.toString(16).padStart(2, '0'))].join(':');
}
