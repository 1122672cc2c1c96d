/** A worker process of a campaign: runs the seeds that its parent sends, one after another, and tells of each. */

import { type RunOptions, runSeed } from './campaign.ts';
import { InvariantError } from './cluster.ts';
import { resultOf, type SeedResult } from './tally.ts';

/** What a worker is asked. */
export interface SeedBlock {
  readonly seeds: readonly number[];
  readonly run: RunOptions;
}

/** Longest line that tells of a failure. */
const FAILURE_CHARACTERS_MAX = 600;

/** Serves blocks of seeds until the parent is gone. */
export function serveSeeds(): void {
  // Ctrl-C reaches all processes of a terminal: the parent decides.
  process.on('SIGINT', () => undefined);
  process.on('disconnect', () => process.exit(0));
  process.on('message', (block: SeedBlock) => void runBlock(block));
}

async function runBlock({ seeds, run }: SeedBlock): Promise<void> {
  for (const seed of seeds) process.send!(await resultOfSeed(seed, run));
}

/** Runs one seed; never rejects. */
export async function resultOfSeed(seed: number, run: RunOptions): Promise<SeedResult> {
  try {
    return resultOf(await runSeed(seed, run));
  } catch (error) {
    return { seed, failure: failureOf(seed, error) };
  }
}

function failureOf(seed: number, error: unknown): string {
  const isBroken = error instanceof InvariantError;
  const text = isBroken
    ? error.summary
    : `seed ${seed}: ${error instanceof Error ? error.stack : String(error)}`;
  return text.replaceAll(/\s*\n\s*/g, ' | ').slice(0, FAILURE_CHARACTERS_MAX);
}
