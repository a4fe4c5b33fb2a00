import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Features } from './features.ts';
import { capabilitiesFor, parametersFor } from './migration-settings.ts';

/** The capabilities that a recorded QEMU lists. */
function featuresOf(version: string): Features {
  const file = new URL(`./testdata/qemu-${version}.json`, import.meta.url);
  const [{ capability }] = JSON.parse(readFileSync(file, 'utf8')).commands['query-migrate-capabilities'].result;
  return {
    capabilities: capability.replace('enum ', '').split('|'),
    parameters: [],
    incomingExitOnError: false,
    multifdWithPostcopy: false,
    lateActivationAlways: version !== '7.2',
  };
}

const on = (list: { capability: string; state: boolean }[]) =>
  list.filter(({ state }) => state).map(({ capability }) => capability);

test.each(['7.2', '10.0', '11.1'])('QEMU %s: exactly what it lists is set, each once', (version) => {
  const features = featuresOf(version);
  for (const side of ['source', 'target'] as const) {
    const names = capabilitiesFor(side, features).map(({ capability }) => capability);
    expect(names.toSorted()).toEqual(features.capabilities.toSorted());
  }
});

test('the source waits before the switchover, the target leaves the disks alone, both report', () => {
  const features = featuresOf('7.2');
  expect(on(capabilitiesFor('source', features))).toEqual([
    'events',
    'return-path',
    'pause-before-switchover',
    'validate-uuid',
  ]);
  expect(on(capabilitiesFor('target', features))).toEqual([
    'events',
    'return-path',
    'late-block-activate',
    'validate-uuid',
  ]);
});

test('a QEMU that does not list what must be on is told to switch it on, and will refuse', () => {
  const features = { ...featuresOf('11.1'), capabilities: ['events', 'multifd'] };
  expect(capabilitiesFor('source', features)).toContainEqual({ capability: 'return-path', state: true });
});

test('a QEMU that always activates late need not know the switch for it', () => {
  const without = { ...featuresOf('11.1'), capabilities: ['events', 'return-path', 'validate-uuid'] };
  expect(on(capabilitiesFor('target', without))).toEqual(['events', 'return-path', 'validate-uuid']);
});

test('every parameter relied on is set, but for those that the binary does not have', () => {
  const old = { ...featuresOf('7.2'), parameters: ['max-bandwidth', 'downtime-limit', 'tls-hostname'] };
  expect(parametersFor(old)).toEqual({ 'max-bandwidth': 0, 'downtime-limit': 300, 'tls-hostname': '' });
});
