import { describe, expect, test } from 'vitest';
import { type DiskStep, SimDisk, WriteCache } from '../../sim/disk.ts';
import { Random } from '../../sim/random.ts';

/** How long each of 500 steps of a kind takes. */
function spans(kind: DiskStep, options: { flushes: boolean; isSlow?: boolean }): number[] {
  let last = 0;
  const clock = {
    wait: (span: number) => {
      last = span;
      return Promise.resolve();
    },
  };
  const disk = new SimDisk(clock, new Random(1), options.flushes);
  disk.isSlow = options.isSlow === true;
  return Array.from({ length: 500 }, () => (disk.step(kind) === undefined ? 0 : last));
}

describe('a simulated disk', () => {
  test('takes no time, or time for flushes alone', () => {
    for (const kind of ['read', 'write', 'sync'] as const) {
      expect(Math.max(...spans(kind, { flushes: false }))).toBe(0);
    }
    expect(Math.max(...spans('read', { flushes: true }), ...spans('write', { flushes: true }))).toBe(0);
    const flushes = spans('sync', { flushes: true });
    expect(Math.min(...flushes)).toBeGreaterThan(0);
    expect(flushes.filter((span) => span > 4_000).length).toBeGreaterThan(5);
    expect(Math.max(...flushes)).toBeLessThanOrEqual(400_000);
  });

  test('that is slow takes up to seconds for some steps, and nothing for others', () => {
    for (const [kind, most] of [
      ['read', 400_000],
      ['write', 400_000],
      ['sync', 3_000_000],
    ] as const) {
      const taken = spans(kind, { flushes: false, isSlow: true });
      expect(taken.filter((span) => span === 0).length).toBeGreaterThan(100);
      expect(Math.max(...taken)).toBeGreaterThan(most / 2);
      expect(Math.max(...taken)).toBeLessThanOrEqual(most);
    }
  });
});

describe('changes that were not flushed', () => {
  test('are undone when the power fails, the newest first; flushed ones stay', () => {
    const cache = new WriteCache();
    const undone: string[] = [];
    cache.add(() => undone.push('a'));
    const flushed = cache.add(() => undone.push('b'));
    cache.add(() => undone.push('c'));
    flushed();
    expect(cache.size).toBe(2);
    expect([cache.lose(), undone, cache.size]).toEqual([2, ['c', 'a'], 0]);
    expect(cache.lose()).toBe(0);
  });

  test('stay when only the process dies', () => {
    const cache = new WriteCache();
    cache.add(() => expect.unreachable());
    cache.keep();
    expect(cache.lose()).toBe(0);
  });
});
