import { describe, expect, test } from 'vitest';
import { notMigratable, type Preflight, preflightFailures } from './preflight.ts';

const source: Preflight = {
  qemuVersion: '8.2.1',
  machineType: 'pc-q35-8.2',
  machineTypes: ['pc-q35-8.2'],
  accelerator: 'kvm',
  cpuModel: 'Skylake-Server',
  cpuFeatures: 'features-a',
  missingCPUFeatures: [],
  memoryBytes: 2 ** 30,
  hardwareHash: 'hash-a',
  runState: 'running',
  blockers: [],
};
const target: Preflight = { ...source, runState: 'inmigrate' };

function failures(differences: { source?: Partial<Preflight>; target?: Partial<Preflight> } = {}) {
  return preflightFailures({
    source: { ...source, ...differences.source },
    target: { ...target, ...differences.target },
  });
}

describe('preflight', () => {
  test.each<{ scenario: string; source?: Partial<Preflight>; target?: Partial<Preflight> }>([
    { scenario: 'two equal nodes' },
    { scenario: 'a newer QEMU on the target', target: { qemuVersion: '10.0.0' } },
    { scenario: 'another stable release of the same QEMU', target: { qemuVersion: '8.2.0' } },
    { scenario: 'a paused guest', source: { runState: 'paused' } },
    { scenario: 'a guest that waits for its disk', source: { runState: 'io-error' } },
    {
      scenario: 'features that both nodes lack',
      source: { missingCPUFeatures: ['pcid'] },
      target: { missingCPUFeatures: ['pcid'] },
    },
    { scenario: 'a feature that only the source lacks', source: { missingCPUFeatures: ['pcid'] } },
    { scenario: 'a named model whose features are reported differently', target: { cpuFeatures: 'features-b' } },
    {
      scenario: 'host CPUs that are equal',
      source: { cpuModel: 'host' },
      target: { cpuModel: 'host' },
    },
  ])('passes: $scenario', ({ scenario: _, ...differences }) => {
    expect(failures(differences)).toEqual([]);
  });

  test.each<{ says: string; source?: Partial<Preflight>; target?: Partial<Preflight> }>([
    { says: 'run state paused instead of waiting', target: { runState: 'paused' } },
    { says: 'does not know the machine type pc-q35-8.2', target: { machineTypes: ['pc-q35-9.0'] } },
    { says: 'under kvm, the target under tcg', target: { accelerator: 'tcg' } },
    { says: 'CPU models differ: Skylake-Server and EPYC', target: { cpuModel: 'EPYC' } },
    { says: "target's CPU lacks avx512f", target: { missingCPUFeatures: ['avx512f'] } },
    {
      says: 'host stands for different CPUs',
      source: { cpuModel: 'host' },
      target: { cpuModel: 'host', cpuFeatures: 'features-b' },
    },
    { says: 'is older than 8.2.1', target: { qemuVersion: '8.1.5' } },
    { says: 'is older than 10.0.0', source: { qemuVersion: '10.0.0' }, target: { qemuVersion: '9.2.4' } },
    { says: '1073741824 bytes of memory, the target 1', target: { memoryBytes: 1 } },
    { says: 'started with different hardware', target: { hardwareHash: 'hash-b' } },
  ])('fails: $says', ({ says, ...differences }) => {
    expect(failures(differences)).toEqual([expect.stringContaining(says)]);
  });

  test('all failures are told at once', () => {
    expect(failures({ target: { accelerator: 'tcg', memoryBytes: 1, hardwareHash: 'hash-b' } })).toHaveLength(3);
  });
});

describe('a VM that cannot be moved to any node', () => {
  test.each<{ says: string; source: Partial<Preflight> }>([
    { says: 'run state postmigrate, in which it cannot be moved', source: { runState: 'postmigrate' } },
    { says: 'run state inmigrate, in which it cannot be moved', source: { runState: 'inmigrate' } },
    { says: 'refuses to migrate this guest: vfio; 9p', source: { blockers: ['vfio', '9p'] } },
  ])('fails: $says', ({ says, source: differences }) => {
    expect(notMigratable({ ...source, ...differences })).toEqual([expect.stringContaining(says)]);
    expect(failures({ source: differences })).toEqual([]);
  });

  test.each(['running', 'paused', 'prelaunch', 'suspended', 'io-error', 'guest-panicked', 'watchdog'])(
    'passes: a guest that is %s',
    (runState) => {
      expect(notMigratable({ ...source, runState })).toEqual([]);
    },
  );
});
