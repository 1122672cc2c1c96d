/** Packet numbers that have arrived, as the ranges of an ACK frame. */

import type { PacketNumber } from '../src/base/units.ts';
import { ACK_RANGES_MAX, type AckRange } from '../src/wire/index.ts';

export class NumberRanges {
  /** Lowest first, disjoint, not adjacent; both ends included. */
  #ranges: { first: number; last: number }[] = [];

  add(number: number): void {
    if (this.has(number)) return;
    const all = [...this.#ranges, { first: number, last: number }].sort(
      (left, right) => left.first - right.first,
    );
    this.#ranges = [];
    for (const range of all) {
      const before = this.#ranges[this.#ranges.length - 1];
      if (before !== undefined && range.first <= before.last + 1)
        before.last = Math.max(before.last, range.last);
      else this.#ranges.push({ ...range });
    }
  }

  has(number: number): boolean {
    return this.#ranges.some(({ first, last }) => number >= first && number <= last);
  }

  get isEmpty(): boolean {
    return this.#ranges.length === 0;
  }

  /** Highest first, as many as a frame holds. */
  get frameRanges(): AckRange[] {
    return this.#ranges
      .slice(-ACK_RANGES_MAX)
      .reverse()
      .map(({ first, last }) => ({ first: first as PacketNumber, last: last as PacketNumber }));
  }
}
