/** Facts of every kind, for what has to hold whatever they are. */
import fc from 'fast-check';
import { expect } from 'vitest';

/** There or not, as often as not. */
export function maybe<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.option(arbitrary, { nil: undefined, freq: 2 });
}

/** A record whose fields of `maybe` are left out where there is nothing. */
export function facts<T>(fields: { [K in keyof T]-?: fc.Arbitrary<T[K] | undefined> }): fc.Arbitrary<T> {
  const isThere = ([, value]: [string, unknown]) => value !== undefined;
  const whole = fields as { [K in keyof T]: fc.Arbitrary<T[K]> };
  return fc.record<T>(whole).map((record) => Object.fromEntries(Object.entries(record as object).filter(isThere)) as T);
}

/**
 * Makes `holds` true of every effect of this kind, with the facts that it was decided on and its step's other effects; and that
 * there were such effects at all, so that nothing holds for want of an example.
 */
export function wherever<Facts, Effect extends { kind: string }, K extends Effect['kind']>(
  { anyFacts, step }: { anyFacts: fc.Arbitrary<Facts>; step: (facts: Facts) => { effects: Effect[] } },
  kind: K,
  holds: (facts: Facts, effect: Extract<Effect, { kind: K }>, effects: Effect[]) => boolean,
): void {
  let seen = 0;
  const property = fc.property(anyFacts, (given) => {
    const { effects } = step(given);
    const ofKind = effects.filter((effect): effect is Extract<Effect, { kind: K }> => effect.kind === kind);
    seen += ofKind.length;
    return ofKind.every((effect) => holds(given, effect, effects));
  });
  fc.assert(property, { numRuns: 10_000 });
  expect(seen).toBeGreaterThan(0);
}
