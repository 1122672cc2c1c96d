import { describe, expect, test } from 'vitest';
import { Random } from '../../sim/random.ts';
import { toHex } from '../../src/base/bytes.ts';

const draws = (random: Random, count: number): number[] =>
  Array.from({ length: count }, () => random.fraction());

describe('Random', () => {
  test('the same seed draws the same numbers, for good', () => {
    expect(toHex(new Random(1).bytes(16))).toBe('31f25b830fcae996f6499dddb4530ee2');
    expect(toHex(new Random(-7_000_000_000_000).bytes(16))).toBe('227dd6a3f0aea35fe66b335fe46adaf8');
    expect(draws(new Random(42), 100)).toEqual(draws(new Random(42), 100));
  });

  test('neighbouring seeds, and seeds that differ above 32 bits, share nothing', () => {
    const seen = new Set<string>();
    for (const seed of [0, 1, 2, -1, 2 ** 32, 2 ** 32 + 1, 2 ** 52, Number.MAX_SAFE_INTEGER]) {
      seen.add(toHex(new Random(seed).bytes(8)));
    }
    expect(seen.size).toBe(8);
  });

  test('a fork depends on its name and its seed, not on what was drawn', () => {
    const parent = new Random(5);
    const before = draws(parent.fork('link a'), 10);
    draws(parent, 1000);
    expect(draws(parent.fork('link a'), 10)).toEqual(before);
    expect(draws(parent.fork('link b'), 10)).not.toEqual(before);
    expect(draws(new Random(6).fork('link a'), 10)).not.toEqual(before);
    expect(draws(parent.fork('link a').fork('link a'), 10)).not.toEqual(before);
  });

  test('ten thousand forks of one seed are ten thousand streams', () => {
    const parent = new Random(9);
    const firsts = new Set(
      Array.from({ length: 10_000 }, (_, index) => parent.fork(`host ${index}`).fraction()),
    );
    expect(firsts.size).toBe(10_000);
  });

  test('fractions spread evenly over [0, 1)', () => {
    const buckets = new Array<number>(16).fill(0);
    for (const value of draws(new Random(3), 160_000)) {
      // A value outside the range finds no bucket.
      buckets[Math.floor(value * 16)]! += 1;
    }
    expect(buckets.length).toBe(16);
    // Five standard deviations of a binomial with n = 160,000 and p = 1/16.
    for (const count of buckets) expect(Math.abs(count - 10_000)).toBeLessThan(485);
  });

  test('every bit of bytes is set half of the time, at any length', () => {
    const random = new Random(8);
    for (let count = 0; count < 9; count++) expect(random.bytes(count).length).toBe(count);
    const ones = new Array<number>(8).fill(0);
    for (const byte of random.bytes(80_000))
      for (let bit = 0; bit < 8; bit++) ones[bit]! += (byte >>> bit) & 1;
    for (const count of ones) expect(Math.abs(count - 40_000)).toBeLessThan(710);
  });

  test('integer covers its range and nothing else', () => {
    const random = new Random(11);
    const seen = new Set(Array.from({ length: 2_000 }, () => random.integer(7)));
    expect([...seen].sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(random.integer(1)).toBe(0);
    expect(() => random.integer(0)).toThrow('positive bound');
  });

  test('chance hits as often as it says, and certain ones draw nothing', () => {
    const random = new Random(12);
    let hits = 0;
    for (let count = 0; count < 100_000; count++) if (random.chance(0.2)) hits += 1;
    expect(Math.abs(hits - 20_000)).toBeLessThan(640);
    const [one, other] = [new Random(4), new Random(4)];
    expect([one.chance(0), one.chance(-1), one.chance(1), one.chance(2)]).toEqual([false, false, true, true]);
    expect(one.fraction()).toBe(other.fraction());
  });

  test('pick takes every item and refuses an empty list', () => {
    const random = new Random(13);
    const seen = new Set(Array.from({ length: 200 }, () => random.pick(['a', 'b', 'c'])));
    expect([...seen].sort()).toEqual(['a', 'b', 'c']);
    expect(() => random.pick([])).toThrow('nothing to pick');
  });

  test('a seed that is no safe integer is refused', () => {
    for (const seed of [0.5, Number.NaN, 2 ** 53]) expect(() => new Random(seed)).toThrow('safe integer');
  });
});
