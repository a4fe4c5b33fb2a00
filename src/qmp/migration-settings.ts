import type { CapabilityState, CommandArguments } from './commands.ts';
import type { Features } from './features.ts';

type Side = 'source' | 'target';

/** Switched on in every migration, each on the side where it acts. Everything else is switched off. */
const alwaysOn: Readonly<Record<string, readonly Side[]>> = {
  /** Else there are no MIGRATION events. */
  events: ['source', 'target'],
  /** Else the source reports `completed` even if the target could not load the state. */
  'return-path': ['source', 'target'],
  /** Refuses a target started for another VM. */
  'validate-uuid': ['source', 'target'],
  /** The only point at which the source waits for us: guest stopped, nothing handed over. */
  'pause-before-switchover': ['source'],
  /** Else QEMU < 10.0 takes the disk locks when it has loaded, although it is paused. */
  'late-block-activate': ['target'],
};

/**
 * The list for `migrate-set-capabilities`: every capability the binary lists, on or off, because what was set for an earlier
 * attempt stays set in the process. A capability that must be on is sent even when the binary does not list it: QEMU then
 * refuses, which is better than to go on without.
 */
export function capabilitiesFor(side: Side, features: Features): CapabilityState[] {
  const on = Object.keys(alwaysOn).filter(
    (name) => alwaysOn[name]?.includes(side) && !(name === 'late-block-activate' && features.lateActivationAlways),
  );
  const off = features.capabilities.filter((name) => !alwaysOn[name]?.includes(side));
  const listed = features.capabilities.filter((name) => !off.includes(name));
  return [
    ...[...new Set([...listed, ...on])].map((capability) => ({ capability, state: true })),
    ...off.map((capability) => ({ capability, state: false })),
  ];
}

type Parameters = CommandArguments<'migrate-set-parameters'>;

/**
 * Every parameter that this project relies on, at the value it relies on; an attempt's own come on top. Sizes in bytes, times in
 * ms. `tls-authz` is not among them: nobody sets it, and to QEMU '' is not "none" but an object of that name, which it looks for
 * in vain when the stream is encrypted.
 */
const parameters = {
  'max-bandwidth': 0,
  'downtime-limit': 300,
  'avail-switchover-bandwidth': 0,
  'max-postcopy-bandwidth': 0,
  'multifd-channels': 2,
  'multifd-compression': 'none',
  'multifd-zlib-level': 1,
  'multifd-zstd-level': 1,
  'xbzrle-cache-size': 67_108_864,
  'cpu-throttle-initial': 20,
  'cpu-throttle-increment': 10,
  'cpu-throttle-tailslow': false,
  'max-cpu-throttle': 99,
  'throttle-trigger-threshold': 50,
  'tls-creds': '',
  'tls-hostname': '',
  'announce-initial': 50,
  'announce-max': 550,
  'announce-rounds': 5,
  'announce-step': 100,
} as const satisfies Parameters;

/** For `migrate-set-parameters` on either side: those that the binary lists. What an earlier attempt has set stays in the process. */
export function parametersFor(features: Features): Parameters {
  const listed = new Set(features.parameters);
  return Object.fromEntries(Object.entries(parameters).filter(([name]) => listed.has(name)));
}
