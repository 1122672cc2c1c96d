/** A campaign as tests: blocks of seeds, each a whole cluster under drawn faults. */

import { expect, test } from 'vitest';
import { runSeed } from '../../sim/campaign.ts';

/** Seeds of one test file; two files share them, so that two workers share the work. */
const SEEDS = Number(process.env.GRAMLINE_SIM_SEEDS ?? 30) / 2;
const SEEDS_PER_TEST = 15;
const TIMEOUT_MILLIS = 120_000;

/** Makes the tests of one file's seeds, from `firstSeed` on. */
export function testCampaign(firstSeed: number): void {
  const starts = Array.from({ length: Math.ceil(SEEDS / SEEDS_PER_TEST) }, (_, index) => {
    return firstSeed + index * SEEDS_PER_TEST;
  });

  test.each(starts)(
    'every invariant holds, seeds %i and the next ones',
    { timeout: TIMEOUT_MILLIS },
    async (start) => {
      const end = Math.min(start + SEEDS_PER_TEST, firstSeed + SEEDS);
      let succeeded = 0;
      for (let seed = start; seed < end; seed++) {
        const { outcomes } = await runSeed(seed);
        for (const [outcome, times] of outcomes) if (outcome.endsWith(' ok')) succeeded += times;
      }
      // Runs in which nothing works would break no invariant either.
      expect(succeeded).toBeGreaterThan(2 * (end - start));
    },
  );
}
