/** The statistics that every figure of the benchmark goes through. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { median, quantile, ratioSpread, reaches } from '../../bench/statistics.ts';

describe('a median', () => {
  it('is the middle value, or lies between the two in the middle', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(median([7])).toBe(7);
  });

  it('sorts numbers by size, not as text', () => {
    expect(median([10, 9, 100])).toBe(10);
  });

  it('refuses to tell of nothing', () => {
    expect(() => median([])).toThrow(RangeError);
  });
});

describe('a quantile', () => {
  it('runs from the least to the greatest', () => {
    const values = [5, 1, 4, 2, 3];
    expect(quantile(values, 0)).toBe(1);
    expect(quantile(values, 0.25)).toBe(2);
    expect(quantile(values, 1)).toBe(5);
  });

  it('leaves its values as they were, and lies within them', () => {
    const finite = fc.double({ noNaN: true, min: -1e9, max: 1e9 });
    fc.assert(
      fc.property(
        fc.array(finite, { minLength: 1 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (values, share) => {
          const before = [...values];
          const found = quantile(values, share);
          expect(values).toEqual(before);
          expect(found).toBeGreaterThanOrEqual(Math.min(...values));
          expect(found).toBeLessThanOrEqual(Math.max(...values));
        },
      ),
    );
  });
});

describe('a ratio', () => {
  it('is taken pair by pair, not between medians', () => {
    // Both sides were slow in the second pair: their ratio was not.
    expect(ratioSpread([10, 2, 9], [5, 1, 3], 'ours/theirs')).toEqual({ median: 2, min: 2, max: 3 });
  });

  it('of times turns round, so that more is better', () => {
    expect(ratioSpread([1, 2], [4, 4], 'theirs/ours')).toEqual({ median: 3, min: 2, max: 4 });
  });

  it('needs as many values of one side as of the other', () => {
    expect(() => ratioSpread([1], [1, 2], 'ours/theirs')).toThrow(RangeError);
  });
});

describe('a goal', () => {
  it('is reached at its bar, from the right side', () => {
    expect(reaches({ atLeast: 1.2 }, 1.2)).toBe(true);
    expect(reaches({ atLeast: 1.2 }, 1.19)).toBe(false);
    expect(reaches({ atMost: 1.6 }, 1.6)).toBe(true);
    expect(reaches({ atMost: 1.6 }, 1.61)).toBe(false);
  });
});
