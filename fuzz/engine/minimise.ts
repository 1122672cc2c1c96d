/** The smallest part of a corpus that reaches as much code, and has as many outcomes, as all of it. */

import { judge } from './campaign.ts';
import { type Coverage, type Ground, Reached } from './coverage.ts';
import type { Target } from './target.ts';

interface Candidate {
  readonly input: Uint8Array;
  readonly ground: Ground;
  readonly outcome: string;
  /** At most what it would add now: gains only fall while others are taken. */
  gain: number;
}

/** Gain of an outcome that no other chosen input has, beside the characters of its code. */
const OUTCOME_GAIN = 1;
/** Rounds of a target before inputs are looked at: code that runs once only is then no input's own. */
const WARM_UP_ROUNDS = 2;

/**
 * Chooses inputs one by one, always the one that adds most, the shorter of two. Without coverage, one
 * input for each outcome. Inputs that crash are left out: they belong into a test.
 */
export async function minimised(
  target: Target,
  inputs: readonly Uint8Array[],
  coverage: Coverage | undefined,
): Promise<Uint8Array[]> {
  for (let round = 0; round < WARM_UP_ROUNDS; round++) {
    for (const input of inputs) await judge(target, input);
  }
  const candidates: Candidate[] = [];
  for (const input of [...inputs].sort(shorterFirst)) {
    coverage?.take();
    const verdict = await judge(target, input);
    const ground = coverage?.take() ?? new Map();
    if ('outcome' in verdict) {
      candidates.push({ input, ground, outcome: verdict.outcome, gain: Number.POSITIVE_INFINITY });
    }
  }
  const reached = new Reached();
  const outcomes = new Set<string>();
  const chosen: Uint8Array[] = [];
  const gainOf = ({ ground, outcome }: Candidate): number =>
    reached.gain(ground) + (outcomes.has(outcome) ? 0 : OUTCOME_GAIN);
  for (;;) {
    // Gains never grow: whoever stays in front when looked at anew is the best of all.
    candidates.sort((left, right) => right.gain - left.gain || shorterFirst(left.input, right.input));
    const [best, next] = candidates;
    if (best === undefined || best.gain === 0) return chosen;
    best.gain = gainOf(best);
    if (best.gain === 0 || (next !== undefined && best.gain < next.gain)) continue;
    reached.add(best.ground);
    outcomes.add(best.outcome);
    chosen.push(best.input);
    candidates.shift();
  }
}

function shorterFirst(left: Uint8Array, right: Uint8Array): number {
  return left.length - right.length || Buffer.compare(left, right);
}
