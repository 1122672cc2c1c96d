import { describe, expect, test } from 'vitest';
import { runPool, WORKER_DEATHS_MAX } from '../../sim/pool.ts';
import type { SeedResult } from '../../sim/tally.ts';

const TIMEOUT_MILLIS = 120_000;

/** A worker that answers every seed by a failure of this name, unless `first` does something else. */
function workerUrl(first: string): string {
  const code = `export function work() {
    process.on('message', async ({ seeds }) => {
      for (const seed of seeds) {
        ${first}
        process.send({ seed, failure: 'seen ' + seed });
      }
    });
  }`;
  return `data:text/javascript,${encodeURIComponent(code)}`;
}

async function results(
  first: string,
  options: { from?: number; count: number; jobs?: number; millis?: number },
) {
  const seen = new Map<number, string>();
  const { from = 1, count, jobs = 2, millis } = options;
  await runPool({
    from,
    count,
    jobs,
    run: {},
    workerUrl: workerUrl(first),
    signal: new AbortController().signal,
    onResult: (result) => {
      expect(seen.has(result.seed)).toBe(false);
      seen.set(result.seed, (result as Extract<SeedResult, { failure: string }>).failure);
    },
    ...(millis === undefined ? {} : { seedMillisMax: millis }),
  });
  return seen;
}

describe('the pool of workers', { timeout: TIMEOUT_MILLIS }, () => {
  test('has each seed run once, whatever their number', async () => {
    for (const count of [1, 7, 40]) {
      const seen = await results('', { from: 100, count });
      const expected = Array.from({ length: count }, (_, index) => 100 + index);
      expect([...seen.keys()].sort((left, right) => left - right)).toEqual(expected);
      expect(seen.get(100)).toBe('seen 100');
    }
  });

  test('a worker that dies fails its seed alone; another takes the rest of its block', async () => {
    const seen = await results(
      'if (seed === 5) process.exit(3); if (seed === 12) process.kill(process.pid);',
      {
        count: 30,
      },
    );
    expect(seen.size).toBe(30);
    const failed = [...seen].filter(([, what]) => !what.startsWith('seen'));
    expect(Object.fromEntries(failed)).toEqual({
      5: 'seed 5: its process died: exit code 3',
      12: 'seed 12: its process died: SIGTERM',
    });
  });

  test('a seed that does not end is ended', async () => {
    const seen = await results(
      'if (seed === 2) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);',
      { count: 10, millis: 5_000 },
    );
    expect(seen.size).toBe(10);
    expect(seen.get(2)).toBe('seed 2: its process died: no result for 5 s');
  });

  test('too many workers that die end the campaign', async () => {
    await expect(results('process.exit(1);', { count: 10 * WORKER_DEATHS_MAX })).rejects.toThrow(
      `${WORKER_DEATHS_MAX + 1} worker processes died, the last one: exit code 1`,
    );
  });

  test('ends at once when it is told to, with what it has', async () => {
    const stop = new AbortController();
    const seen: number[] = [];
    await runPool({
      from: 1,
      count: 1_000,
      jobs: 1,
      run: {},
      workerUrl: workerUrl('if (seed === 4) await new Promise(() => undefined);'),
      signal: stop.signal,
      onResult: ({ seed }) => {
        seen.push(seed);
        if (seed === 3) stop.abort();
      },
    });
    expect(seen).toEqual([1, 2, 3]);
  });
});
