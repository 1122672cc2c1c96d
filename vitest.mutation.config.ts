import { defineConfig } from 'vitest/config';

/** The tests that a mutation of the pure rooms must not survive: quick ones, each in the mirror of its room. */
export default defineConfig({
  test: {
    include: ['test/{wire,reliability,crypto,session}/**/*.test.ts', 'test/spec/vectors.test.ts'],
    setupFiles: ['test/support/mutation-setup.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    pool: 'forks',
  },
});
