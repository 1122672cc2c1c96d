/** The statistics of the benchmark: pure, and tested in `test/bench/`. */

/** The value below which `share` (0 to 1) of the sorted values lie; interpolated between neighbours. */
export function quantile(values: readonly number[], share: number): number {
  if (values.length === 0) throw new RangeError('no values');
  const sorted = Float64Array.from(values).sort();
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  const above = Math.min(below + 1, sorted.length - 1);
  return sorted[below]! + (sorted[above]! - sorted[below]!) * (at - below);
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Which way a ratio is taken: rates are ours/theirs, times theirs/ours, so that more is better; latencies say. */
export type RatioOf = 'ours/theirs' | 'theirs/ours';

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Ratios of values that were measured side by side: the n-th of one with the n-th of the other. */
export function ratioSpread(ours: readonly number[], theirs: readonly number[], ratioOf: RatioOf): Spread {
  if (ours.length !== theirs.length) throw new RangeError('sides of different length');
  const ratios = ours.map((value, index) =>
    ratioOf === 'ours/theirs' ? value / theirs[index]! : theirs[index]! / value,
  );
  return spread(ratios);
}

export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** A bar of the results table. */
export type Goal = { readonly atLeast: number } | { readonly atMost: number };

export function reaches(goal: Goal, value: number): boolean {
  return 'atLeast' in goal ? value >= goal.atLeast : value <= goal.atMost;
}
