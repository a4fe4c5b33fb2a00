import { defineConfig } from 'vitest/config';

/**
 * Three layers, cheapest first. `unit` stands beside the code and needs nothing; `contract` runs a real QEMU;
 * `integration` and `e2e` run a real API server as well, one test file at a time: the machines have few cores.
 */
const realParts = { testTimeout: 120_000, hookTimeout: 600_000, fileParallelism: false };

export default defineConfig({
  test: {
    reporters: ['default'],
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'test/model/**/*.test.ts'],
          exclude: ['src/**/*.contract.test.ts'],
        },
      },
      { test: { name: 'contract', include: ['src/**/*.contract.test.ts', 'test/guest/**/*.test.ts'], ...realParts } },
      {
        test: {
          name: 'integration',
          include: ['test/{cluster,integration,e2e,chaos}/**/*.test.ts'],
          exclude: ['test/e2e/kind/**'], // `npm run e2e`
          ...realParts,
        },
      },
    ],
  },
});
