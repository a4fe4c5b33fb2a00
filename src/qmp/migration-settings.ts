import type { CapabilityState } from './commands.ts';
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
