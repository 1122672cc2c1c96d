import { defineConfig } from 'vitest/config';
import type { Reporter, TestModule } from 'vitest/node';

/** One plain line at the end, for those who read a log and not a terminal. */
const plainCount: Reporter = {
  onTestRunEnd(modules: readonly TestModule[]) {
    const counts = { passed: 0, failed: 0, skipped: 0, pending: 0 };
    for (const module of modules) {
      for (const test of module.children.allTests()) counts[test.result().state] += 1;
    }
    console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  },
};

/** These look at code that nothing has run before them, and at what a process has open. */
const ALONE = ['test/fuzz/coverage.test.ts', 'test/real/leaks.test.ts'];

export default defineConfig({
  test: {
    reporters: process.env.CI === undefined ? ['default'] : ['default', plainCount],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    maxWorkers: 3,
    pool: 'forks',
    // Files share a process each worker has, since loading all modules anew for each took a fifth of the time.
    projects: [
      {
        extends: true,
        test: { name: 'shared', include: ['test/**/*.test.ts'], exclude: ALONE, isolate: false },
      },
      { extends: true, test: { name: 'alone', include: ALONE } },
    ],
  },
});
