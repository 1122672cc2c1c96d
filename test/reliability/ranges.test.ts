import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RangeSet } from '../../src/reliability/index.ts';

/** The plainly written twin: one entry a number. */
class NaiveSet {
  readonly #numbers = new Set<number>();

  add(start: number, end: number): number {
    const before = this.#numbers.size;
    for (let number = start; number < end; number++) this.#numbers.add(number);
    return this.#numbers.size - before;
  }

  has(number: number): boolean {
    return this.#numbers.has(number);
  }

  covers(start: number, end: number): boolean {
    for (let number = start; number < end; number++) if (!this.#numbers.has(number)) return false;
    return true;
  }

  removeBelow(end: number): void {
    for (const number of this.#numbers) if (number < end) this.#numbers.delete(number);
  }

  keepHighest(count: number): void {
    const { ranges } = this;
    const kept = ranges.slice(Math.max(0, ranges.length - count));
    this.#numbers.clear();
    for (const range of kept) this.add(range.start, range.end);
  }

  clear(): void {
    this.#numbers.clear();
  }

  get ranges(): { start: number; end: number }[] {
    const ranges: { start: number; end: number }[] = [];
    for (const number of [...this.#numbers].sort((left, right) => left - right)) {
      const last = ranges[ranges.length - 1];
      if (last !== undefined && last.end === number) last.end += 1;
      else ranges.push({ start: number, end: number + 1 });
    }
    return ranges;
  }
}

const SPAN = 60;
const operation = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('add' as const),
      start: fc.nat(SPAN),
      length: fc.integer({ min: 1, max: 12 }),
    }),
  },
  fc.record({ do: fc.constant('removeBelow' as const), end: fc.nat(SPAN + 12) }),
  fc.record({ do: fc.constant('keepHighest' as const), count: fc.nat(6) }),
  fc.record({ do: fc.constant('clear' as const) }),
);

describe('a range set', () => {
  it('does what a set of single numbers does, whatever the order of calls', () => {
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 40 }), (operations) => {
        const set = new RangeSet();
        const twin = new NaiveSet();
        for (const step of operations) {
          switch (step.do) {
            case 'add': {
              const end = step.start + step.length;
              expect(set.add(step.start, end)).toBe(twin.add(step.start, end));
              break;
            }
            case 'removeBelow':
              set.removeBelow(step.end);
              twin.removeBelow(step.end);
              break;
            case 'keepHighest':
              set.keepHighest(step.count);
              twin.keepHighest(step.count);
              break;
            case 'clear':
              set.clear();
              twin.clear();
              break;
          }
          expect(set.ranges).toEqual(twin.ranges);
          expect(set.count).toBe(twin.ranges.length);
        }
        for (let number = 0; number < SPAN + 14; number++) {
          expect(set.has(number)).toBe(twin.has(number));
          expect(set.covers(number, number + 3)).toBe(twin.covers(number, number + 3));
        }
      }),
      { numRuns: 500 },
    );
  });

  it('joins neighbours that touch', () => {
    const set = new RangeSet();
    set.add(0, 2);
    set.add(4, 6);
    expect(set.add(2, 4)).toBe(2);
    expect(set.ranges).toEqual([{ start: 0, end: 6 }]);
  });

  it('refuses an empty range, which is a bug of its caller', () => {
    expect(() => new RangeSet().add(3, 3)).toThrow('empty range');
  });
});
