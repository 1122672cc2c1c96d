/** Small statistics: medians and pairs. */

/** The value below which `share` of the sorted values lie. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** Microseconds of each of `count` runs, one after another. */
export async function latencies(count: number, run: () => Promise<unknown>): Promise<number[]> {
  const spans: number[] = [];
  for (let index = 0; index < count; index++) {
    const start = performance.now();
    await run();
    spans.push((performance.now() - start) * 1000);
  }
  return spans;
}

/** Seconds that `run` takes. */
export async function seconds(run: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await run();
  return (performance.now() - start) / 1000;
}

export interface Comparison {
  readonly name: string;
  readonly unit: string;
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
  readonly theirName: string;
}

/** Runs both sides in turn, `pairs` times, after one uncounted pair. */
export async function compare(
  options: {
    readonly name: string;
    readonly unit: string;
    readonly theirName: string;
    readonly pairs: number;
  },
  ours: () => Promise<number>,
  theirs: () => Promise<number>,
): Promise<Comparison> {
  await theirs();
  await ours();
  const result = { ...options, ours: [] as number[], theirs: [] as number[] };
  for (let pair = 0; pair < options.pairs; pair++) {
    result.theirs.push(await theirs());
    result.ours.push(await ours());
  }
  return result;
}
