/**
 * Whole clusters under drawn faults, one seed a run; `campaign-b.test.ts` takes other seeds, so that
 * two workers share the work. More of them: GRAMLINE_SIM_SEEDS=10000, half of them in each file.
 *
 * A failure names its seed and how to replay it; it then becomes a named scenario in `cluster-*.test.ts`.
 */

import { expect, test } from 'vitest';
import { runSeed } from '../../sim/campaign.ts';

const FIRST_SEED = 1;
const SEEDS = Number(process.env.GRAMLINE_SIM_SEEDS ?? 1_000) / 2;
const SEEDS_PER_TEST = 50;
const TIMEOUT_MILLIS = 120_000;

const starts = Array.from({ length: Math.ceil(SEEDS / SEEDS_PER_TEST) }, (_, index) => {
  return FIRST_SEED + index * SEEDS_PER_TEST;
});

test.each(starts)(
  'every invariant holds, seeds %i and the next ones',
  { timeout: TIMEOUT_MILLIS },
  async (start) => {
    const end = Math.min(start + SEEDS_PER_TEST, FIRST_SEED + SEEDS);
    let succeeded = 0;
    for (let seed = start; seed < end; seed++) {
      const { outcomes } = await runSeed(seed);
      for (const [outcome, times] of outcomes) if (outcome.endsWith(' ok')) succeeded += times;
    }
    // Runs in which nothing works would break no invariant either.
    expect(succeeded).toBeGreaterThan(2 * (end - start));
  },
);
