import { defineConfig } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** As files are named: the first case installs, the last removes what it has installed. */
class ByName extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return files.toSorted((a, b) => a.moduleId.localeCompare(b.moduleId));
  }
}

/** Run by `npm run e2e`, one case after the other: they share a cluster, and the machines have few cores. */
export default defineConfig({
  test: {
    name: 'e2e',
    include: ['test/e2e/kind/*.test.ts'],
    setupFiles: ['test/e2e/kind/setup.ts'],
    fileParallelism: false,
    testTimeout: 300_000,
    hookTimeout: 600_000,
    sequence: { sequencer: ByName },
  },
});
