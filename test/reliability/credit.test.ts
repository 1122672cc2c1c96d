import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CreditPool } from '../../src/reliability/index.ts';

describe('the credit pool', () => {
  it('gives what is wanted, but at most half of what is left', () => {
    const pool = new CreditPool(1_000);
    expect(pool.take(300, 10)).toBe(300);
    expect(pool.take(600, 10)).toBe(350);
    expect(pool.takenBytes).toBe(650);
  });

  it('gives the least to the last one at the maximum, and nothing to the one after', () => {
    const pool = new CreditPool(100);
    for (let flow = 0; flow < 10; flow++) expect(pool.take(10, 10)).toBe(10);
    expect(pool.takenBytes).toBe(100);
    expect(pool.take(10, 10)).toBe(0);
    expect(pool.take(1, 1)).toBe(0);
    pool.give(10);
    expect(pool.take(10, 10)).toBe(10);
  });

  it('gives an exact amount or none when no less will do', () => {
    const pool = new CreditPool(25);
    expect(pool.take(10, 10)).toBe(10);
    expect(pool.take(10, 10)).toBe(10);
    expect(pool.take(10, 10)).toBe(0);
  });

  it('never gives more than it has, whatever is taken and given back', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10_000 }),
        fc.array(
          fc.record({ wanted: fc.nat(4_000), least: fc.integer({ min: 1, max: 500 }), back: fc.boolean() }),
        ),
        (total, steps) => {
          const pool = new CreditPool(total);
          const taken: number[] = [];
          for (const { wanted, least, back } of steps) {
            if (back && taken.length > 0) pool.give(taken.pop()!);
            const bytes = pool.take(Math.max(wanted, least), least);
            expect(bytes === 0 || bytes >= least).toBe(true);
            if (bytes > 0) taken.push(bytes);
            expect(pool.takenBytes).toBe(taken.reduce((sum, each) => sum + each, 0));
            expect(pool.takenBytes).toBeLessThanOrEqual(total);
          }
        },
      ),
    );
  });

  it('takes it for a bug when more comes back than went out', () => {
    const pool = new CreditPool(10);
    expect(() => pool.give(1)).toThrow('more credit');
  });
});
