/** How processes of the benchmark sample latencies and rates. */

import { quantile } from '../statistics.ts';

export interface Latencies {
  readonly p50Micros: number;
  readonly p99Micros: number;
  readonly count: number;
}

/** When a sampling ends: at the first of both. */
export interface Extent {
  readonly count: number;
  readonly seconds: number;
}

/** Runs `ask` one after another. */
export async function sampleLatencies(
  { count, seconds }: Extent,
  ask: () => Promise<unknown>,
): Promise<Latencies> {
  const spans: number[] = [];
  const end = performance.now() + seconds * 1000;
  while (spans.length < count) {
    const start = performance.now();
    await ask();
    const now = performance.now();
    spans.push((now - start) * 1000);
    if (now > end) break;
  }
  return { p50Micros: quantile(spans, 0.5), p99Micros: quantile(spans, 0.99), count: spans.length };
}

/**
 * Keeps `window` runs of `work` under way for `seconds`; resolves to how many ended a second.
 *
 * @param perRun How many a run counts for.
 */
export async function sampleRate(
  options: { readonly seconds: number; readonly window: number; readonly perRun?: number },
  work: () => Promise<unknown>,
): Promise<number> {
  const { seconds, window, perRun = 1 } = options;
  const start = performance.now();
  const end = start + seconds * 1000;
  let done = 0;
  let over = false;
  const worker = async (): Promise<void> => {
    while (!over) {
      await work();
      done += perRun;
      // Reading the clock for each one would cost what is measured.
      if (done % 64 === 0 || window === 1) over = performance.now() > end;
    }
  };
  await Promise.all(Array.from({ length: window }, worker));
  return done / ((performance.now() - start) / 1000);
}

/** Walks over `items` in strides, so that neighbours in time aren't neighbours in memory. */
export function strider<Item>(items: readonly Item[]): () => Item {
  if (items.length === 0) throw new RangeError('nothing to walk over');
  let at = 0;
  const stride = 7_919;
  return () => {
    at = (at + stride) % items.length;
    return items[at]!;
  };
}
