/** QEMU's command line: everything the guest sees comes from the hardware definition, and from nothing else. */
import { firmwareFiles } from './firmware-files.ts';
import type { HardwareDefinition } from './hardware.ts';

export interface CommandLineOptions {
  /** Wait for a migration; implies that the guest stands still until it is continued. */
  readonly incoming: boolean;
  /** Start with the guest standing still. */
  readonly paused: boolean;
  /** What the process calls itself; the same for every QEMU of a VM. */
  readonly name: string;
}

/**
 * MiB for translated code under TCG; QEMU's own default grows to 1 GiB, which no statement of the pod's memory could include.
 */
export const translationCacheMiB = 128;

/** Refused to a QEMU whose guest has broken out: new programs, other users, other priorities, obsolete calls. */
const sandbox = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny';

/** The options without a value that `qemuArguments` uses. */
export const flags: ReadonlySet<string> = new Set(['-nodefaults', '-no-user-config', '-only-migratable', '-S']);

const accelerators = {
  kvm: { option: 'kvm', cpuSuffix: ',enforce' },
  // Without `enforce`: TCG lacks features that every model has, and QEMU leaves them out the same way on every node.
  tcg: { option: `tcg,tb-size=${translationCacheMiB}`, cpuSuffix: '' },
} as const;

/**
 * The arguments after the program's name, as a pod carries them: the files it boots are `$(KERNEL)`, `$(INITRD)` and `$(BIOS)`,
 * which whoever starts the pod expands, and every other `$` is doubled for the same reason. Sockets have names relative to the
 * working folder: `qmp` and `qmp2`, two because a monitor serves one client at a time, and the console, `serial`.
 *
 * The console has no log file: a guest that prints without end would fill the folder. What nobody reads is dropped.
 */
export function qemuArguments(hardware: HardwareDefinition, options: CommandLineOptions): string[] {
  const { machineType, accelerator, cpu, memoryBytes, uuid } = hardware;
  const { option, cpuSuffix } = accelerators[accelerator];
  return [
    ...['-name', escapedValue(options.name)],
    ...['-nodefaults', '-no-user-config', '-only-migratable'],
    ...['-sandbox', sandbox],
    ...['-machine', escapedValue(machineType), '-accel', option],
    ...['-cpu', `${escapedValue(cpu.model)}${cpuSuffix}`],
    ...['-smp', `cpus=${cpu.cores},sockets=1,cores=${cpu.cores},threads=1`],
    ...['-m', `${memoryBytes / 1024}K`],
    ...['-uuid', uuid],
    ...['-display', 'none'],
    ...monitor('qmp'),
    ...monitor('qmp2'),
    ...['-chardev', 'socket,id=serial,path=serial,server=on,wait=off'],
    ...['-device', 'isa-serial,id=com1,chardev=serial,index=0'],
    ...firmwareArguments(hardware.firmware),
    ...hardware.networks.flatMap(networkArguments),
    ...(options.incoming || options.paused ? ['-S'] : []),
    ...(options.incoming ? ['-incoming', 'defer'] : []),
  ];
}

function monitor(name: string): string[] {
  return ['-chardev', `socket,id=${name},path=${name},server=on,wait=off`, '-mon', `chardev=${name},mode=control`];
}

function firmwareArguments(firmware: HardwareDefinition['firmware']): string[] {
  const files = firmwareFiles(firmware).flatMap(({ variable }) => [`-${variable.toLowerCase()}`, `$(${variable})`]);
  const commandLine = firmware.kernel?.commandLine ?? '';
  return commandLine === '' ? files : [...files, '-append', escapedVariables(commandLine)];
}

function networkArguments(network: HardwareDefinition['networks'][number]): string[] {
  const { name, macAddress, pciAddress } = network;
  const device = `virtio-net-pci,id=net-${name},netdev=user-${name},mac=${macAddress},bus=pcie.0,addr=${pciAddress}`;
  // No option ROM: nothing boots from the network, and a ROM of another size would make the machines differ.
  return ['-netdev', `user,id=user-${name}`, '-device', `${device},romfile=`];
}

/** A literal value within `-option key=value,…`, where QEMU reads two commas as one. */
function escapedValue(text: string): string {
  return escapedVariables(text.replaceAll(',', ',,'));
}

/** A literal text in a pod's command, where the kubelet reads two dollars as one. */
function escapedVariables(text: string): string {
  return text.replaceAll('$', '$$$$');
}
