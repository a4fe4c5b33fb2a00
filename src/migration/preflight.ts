/**
 * May this VM move to that QEMU? QEMU itself detects almost no difference between two machines (not the CPU model nor its
 * features, not a MAC address, not an extra device), so everything it would overlook is compared here, from what both agents read
 * from the running processes.
 */
import type { VirtualMachineMigrationStatus } from '../api/virtual-machine-migration.gen.ts';

export type Preflight = NonNullable<NonNullable<VirtualMachineMigrationStatus['source']>['preflight']>;

export interface PreflightInput {
  source: Preflight;
  target: Preflight;
}

/** A check answers with one sentence on what is wrong and what to do, or with nothing. */
type Check<Input = PreflightInput> = (input: Input) => string | undefined;

/** Run states in which a guest may be handed over; all but `running` and `suspended` arrive stopped, as they are. */
const movable = new Set(['running', 'prelaunch', 'paused', 'suspended', 'io-error', 'guest-panicked', 'watchdog']);

const guestIsInAMovableState: Check<{ source: Preflight }> = ({ source }) =>
  movable.has(source.runState)
    ? undefined
    : `The guest is in QEMU's run state ${source.runState}, in which it cannot be moved.`;

const nothingBlocksTheSource: Check<{ source: Preflight }> = ({ source }) =>
  source.blockers.length === 0 ? undefined : `QEMU refuses to migrate this guest: ${source.blockers.join('; ')}`;

const targetWaitsForTheGuest: Check = ({ target }) =>
  target.runState === 'inmigrate'
    ? undefined
    : `The target QEMU is in run state ${target.runState} instead of waiting for a guest.`;

const targetKnowsTheMachineType: Check = ({ source, target }) =>
  target.machineTypes.includes(source.machineType)
    ? undefined
    : `QEMU ${target.qemuVersion} on the target does not know the machine type ${source.machineType}. Choose a node with another QEMU.`;

const sameAccelerator: Check = ({ source, target }) =>
  source.accelerator === target.accelerator
    ? undefined
    : `The source runs under ${source.accelerator}, the target under ${target.accelerator}. A guest cannot move between the two.`;

const sameCpuModel: Check = ({ source, target }) =>
  source.cpuModel === target.cpuModel ? undefined : `The CPU models differ: ${source.cpuModel} and ${target.cpuModel}.`;

const targetHasEveryCpuFeature: Check = ({ source, target }) => {
  const lackedBySource = new Set(source.missingCPUFeatures);
  const lacking = (target.missingCPUFeatures ?? []).filter((feature) => !lackedBySource.has(feature));
  return lacking.length === 0
    ? undefined
    : `The target's CPU lacks ${lacking.join(', ')}, which the guest may use. Give the VM an older CPU model, or choose another node.`;
};

/** These models mean "whatever this host has", so equal names prove nothing. */
const hostModels = new Set(['host', 'max']);

const hostModelMeansTheSameCpu: Check = ({ source, target }) =>
  !hostModels.has(source.cpuModel) || source.cpuFeatures === target.cpuFeatures
    ? undefined
    : `The CPU model ${source.cpuModel} stands for different CPUs on the two nodes. Use a named model, or choose a node with an equal CPU.`;

const targetIsNotOlder: Check = ({ source, target }) =>
  compareVersions(target.qemuVersion, source.qemuVersion) >= 0
    ? undefined
    : `QEMU ${target.qemuVersion} on the target is older than ${source.qemuVersion} on the source. Choose a node with the same or a newer QEMU.`;

const sameMemory: Check = ({ source, target }) =>
  source.memoryBytes === target.memoryBytes
    ? undefined
    : `The source has ${source.memoryBytes} bytes of memory, the target ${target.memoryBytes}.`;

const sameMachine: Check = ({ source, target }) =>
  source.hardwareHash === target.hardwareHash
    ? undefined
    : 'The two QEMU processes were started with different hardware. Was the pod changed on its way, by an admission webhook perhaps?';

/** Of the VM alone: where it fails, no target helps. */
const checksOfTheSource = {
  guestIsInAMovableState,
  nothingBlocksTheSource,
} satisfies Record<string, Check<{ source: Preflight }>>;

const checks = {
  targetWaitsForTheGuest,
  targetKnowsTheMachineType,
  sameAccelerator,
  sameCpuModel,
  targetHasEveryCpuFeature,
  hostModelMeansTheSameCpu,
  targetIsNotOlder,
  sameMemory,
  sameMachine,
} satisfies Record<string, Check>;

/** What keeps the VM from moving anywhere: one sentence each. */
export function notMigratable(source: Preflight): string[] {
  return Object.values(checksOfTheSource)
    .map((check) => check({ source }))
    .filter((failure) => failure !== undefined);
}

/** What keeps the VM from moving to this target. All failures, not the first: one sentence each, in the order above. */
export function preflightFailures(input: PreflightInput): string[] {
  return Object.values(checks)
    .map((check) => check(input))
    .filter((failure) => failure !== undefined);
}

/** Compares `7.2.22` and the like by major and minor; stable releases within one minor exchange streams both ways. */
function compareVersions(left: string, right: string): number {
  const numbers = (version: string) => version.split('.').map((part) => Number.parseInt(part, 10) || 0);
  const [leftMajor = 0, leftMinor = 0] = numbers(left);
  const [rightMajor = 0, rightMinor = 0] = numbers(right);
  return leftMajor - rightMajor || leftMinor - rightMinor;
}
