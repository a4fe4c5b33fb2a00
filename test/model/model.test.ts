import { describe, expect, test } from 'vitest';
import { quickConfigurations } from './configurations.ts';
import { search } from './search.ts';
import { shippedSteps } from './shipped-steps.ts';
import { wrongVariants } from './wrong-variants.ts';

const noTimeLimit = { timeout: 300_000 };

describe('everything that can happen is looked at, and every rule holds', () => {
  test.each(quickConfigurations)('$name', noTimeLimit, (configuration) => {
    const { complete, violations } = search(shippedSteps, configuration);
    expect({ complete, violations }).toEqual({ complete: true, violations: [] });
  });
});

describe('a wrong step is found out', () => {
  test.each(wrongVariants)('$mistake', noTimeLimit, ({ steps, configuration, breaks }) => {
    const { violations } = search({ ...shippedSteps, ...steps }, configuration, { first: true });
    expect(violations.map(({ rule }) => rule).join('\n')).toMatch(breaks);
    for (const { trace } of violations) expect(trace.every((line) => line.length > 10)).toBe(true);
  });
});
