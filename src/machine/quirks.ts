import type { VirtualMachineStatus } from '../api/virtual-machine.gen.ts';

export type HardwareDefinition = NonNullable<VirtualMachineStatus['hardware']>;

/** A definition on its way to its hash. */
export type HardwareDraft = Omit<HardwareDefinition, 'hash'>;

/** A way around a fault of QEMU. It changes what the guest sees, so it is part of the frozen definition. */
interface Quirk {
  readonly name: string;
  readonly reason: string;
  readonly applies: (definition: HardwareDraft) => boolean;
  readonly change: (definition: HardwareDraft) => HardwareDraft;
}

const kibibyte = 1024;

const quirks: readonly Quirk[] = [
  {
    name: 'tcg-memory-off-the-fast-path',
    reason:
      'QEMU 7.2 under TCG loses pages written shortly before the guest stops, when a migration takes several passes and RAM is a ' +
      'multiple of 256 KiB: the guest then continues with corrupt memory. Fixed about 9.0; KVM is not affected.',
    applies: ({ accelerator, memoryBytes }) => accelerator === 'tcg' && memoryBytes % (256 * kibibyte) === 0,
    // QEMU rounds RAM up to multiples of 8 KiB.
    change: (definition) => ({ ...definition, memoryBytes: definition.memoryBytes + 8 * kibibyte }),
  },
];

export function applyQuirks(definition: HardwareDraft): HardwareDraft {
  return quirks.reduce((draft, quirk) => (quirk.applies(draft) ? quirk.change(draft) : draft), definition);
}
