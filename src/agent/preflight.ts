import { createHash } from 'node:crypto';
import { argumentsHash } from '../machine/arguments-hash.ts';
import type { Preflight } from '../migration/preflight.ts';
import type { QmpConnection } from '../qmp/connection.ts';
import type { Qemu } from './qemu/qemu.ts';
import { readBlockers } from './qemu/read-blockers.ts';

/** What cannot change while a QEMU lives. */
type Fixed = Omit<Preflight, 'runState' | 'blockers'>;

/** The API's bounds: what QEMU says is its guest's to choose, once the guest has broken out. */
const bounds = {
  machineTypes: 64,
  missingCPUFeatures: 256,
  blockers: 16,
  blockerLength: 512,
  runStateLength: 32,
  wordLength: 64,
};

const asked = new WeakMap<QmpConnection, Promise<Fixed>>();

/**
 * What the checks that compare both sides of a migration need to know of one QEMU. The run state and the blockers are read
 * each time, everything else once per connection: two commands, a millisecond each, when `warmPreflight` came before. Nothing
 * is kept for other QEMUs, because one whose guest has broken out may answer anything.
 *
 * Two dear commands are avoided, each of which would keep QEMU's main loop, and so the guest, for 20 to 60 ms: `query-cpu-definitions`
 * and `query-qmp-schema`. The virtual CPU itself tells what it has and what it lacks.
 * @throws QmpError, QemuAbsent
 */
export async function readPreflight(qemu: Qemu): Promise<Preflight> {
  const connection = await qemu.monitor();
  const fixed = await readFixed(qemu, connection);
  const { status } = await connection.execute('query-status');
  return { ...fixed, runState: status.slice(0, bounds.runStateLength), blockers: await readBlockers(connection) };
}

/**
 * Asks what does not change ahead of time, off the way of any migration.
 * @throws QmpError, QemuAbsent
 */
export async function warmPreflight(qemu: Qemu): Promise<void> {
  await readFixed(qemu, await qemu.monitor());
}

async function readFixed(qemu: Qemu, connection: QmpConnection): Promise<Fixed> {
  const known = asked.get(connection);
  if (known !== undefined) return await known;
  const answer = askFixed(qemu, connection);
  asked.set(connection, answer);
  answer.catch(() => asked.delete(connection));
  return await answer;
}

async function askFixed(qemu: Qemu, connection: QmpConnection): Promise<Fixed> {
  const { major, minor, micro } = connection.version;
  const [cpu] = await connection.execute('query-cpus-fast');
  const ofCpu = (property: string) =>
    connection.execute('qom-get', { path: cpu?.['qom-path'] ?? '/machine', property });
  const [machine, { enabled }, machines, cpuType, featureWords, missing, memory, argv] = await Promise.all([
    connection.execute('qom-get', { path: '/machine', property: 'type' }),
    connection.execute('query-kvm'),
    connection.execute('query-machines'),
    ofCpu('type'),
    ofCpu('feature-words'),
    ofCpu('unavailable-features'),
    connection.execute('query-memory-size-summary'),
    qemu.argv(),
  ]);
  const machineTypes = machines.map(({ name }) => name).filter((name) => /^pc-q35-\d+\.\d+$/.test(name));
  const missingCPUFeatures = Array.isArray(missing) ? missing.map((feature) => word(feature)) : [];
  return {
    qemuVersion: `${major}.${minor}.${micro}`,
    machineType: word(machine).replace(/-machine$/, ''),
    machineTypes: machineTypes.sort().slice(0, bounds.machineTypes),
    accelerator: enabled ? 'kvm' : 'tcg',
    cpuModel: word(cpuType).replace(/-x86_64-cpu$/, ''),
    cpuFeatures: createHash('sha256').update(describeFeatures(featureWords)).digest('hex'),
    ...(missingCPUFeatures.length === 0
      ? {}
      : { missingCPUFeatures: missingCPUFeatures.slice(0, bounds.missingCPUFeatures) }),
    memoryBytes: memory['base-memory'],
    hardwareHash: argumentsHash(argv),
  };
}

/** The CPUID registers that are not zero, in an order of their own: a newer QEMU knows more registers. */
function describeFeatures(words: unknown): string {
  const registers = Array.isArray(words) ? (words as Record<string, unknown>[]) : [];
  return registers
    .filter((register) => register.features !== 0)
    .map((register) =>
      ['cpuid-input-eax', 'cpuid-input-ecx', 'cpuid-register', 'features'].map((field) => register[field] ?? '').join(),
    )
    .sort()
    .join('\n');
}

function word(value: unknown): string {
  return String(value).slice(0, bounds.wordLength);
}
