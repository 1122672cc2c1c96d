/**
 * A set of integers kept as sorted, disjoint, non-adjacent ranges. Serves received packet numbers,
 * arrived bytes of a record and acknowledged bytes of a segment alike. Ranges are half-open:
 * `[start, end)`.
 */

import { assert } from '../base/assert.ts';

export interface Range {
  start: number;
  end: number;
}

export class RangeSet {
  readonly #ranges: Range[] = [];

  get ranges(): readonly Readonly<Range>[] {
    return this.#ranges;
  }

  get count(): number {
    return this.#ranges.length;
  }

  /** Adds `[start, end)`; returns how many integers are new. */
  add(start: number, end: number): number {
    assert(start < end, 'empty range');
    const ranges = this.#ranges;
    const newest = ranges[ranges.length - 1];
    // Most additions go on where the last one ended: nothing is allocated for them.
    if (newest !== undefined && start === newest.end) {
      newest.end = end;
      return end - start;
    }
    let index = ranges.length;
    // Of the others most are near the end: look from there.
    while (index > 0 && ranges[index - 1]!.end >= start) index -= 1;
    let covered = 0;
    let mergedStart = start;
    let mergedEnd = end;
    let last = index;
    while (last < ranges.length && ranges[last]!.start <= end) {
      const range = ranges[last]!;
      covered += Math.max(0, Math.min(range.end, end) - Math.max(range.start, start));
      mergedStart = Math.min(mergedStart, range.start);
      mergedEnd = Math.max(mergedEnd, range.end);
      last += 1;
    }
    if (last === index + 1) {
      const range = ranges[index]!;
      range.start = mergedStart;
      range.end = mergedEnd;
    } else {
      ranges.splice(index, last - index, { start: mergedStart, end: mergedEnd });
    }
    return end - start - covered;
  }

  has(value: number): boolean {
    for (let index = this.#ranges.length - 1; index >= 0; index--) {
      const range = this.#ranges[index]!;
      if (value >= range.end) return false;
      if (value >= range.start) return true;
    }
    return false;
  }

  /** Whether all of `[start, end)` is in the set. */
  covers(start: number, end: number): boolean {
    const ranges = this.#ranges;
    for (let index = ranges.length - 1; index >= 0; index--) {
      const range = ranges[index]!;
      if (range.start <= start) return end <= range.end;
    }
    return false;
  }

  /** Forgets everything below `end`. */
  removeBelow(end: number): void {
    const ranges = this.#ranges;
    let whole = 0;
    while (whole < ranges.length && ranges[whole]!.end <= end) whole += 1;
    if (whole > 0) ranges.splice(0, whole);
    const first = ranges[0];
    if (first !== undefined && first.start < end) first.start = end;
  }

  /** Forgets the lowest ranges until at most `count` are left. */
  keepHighest(count: number): void {
    if (this.#ranges.length > count) this.#ranges.splice(0, this.#ranges.length - count);
  }

  clear(): void {
    this.#ranges.length = 0;
  }
}
