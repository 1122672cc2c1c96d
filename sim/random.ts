/**
 * Chance for the simulator: the whole of it comes from one seed.
 *
 * sfc32 (Chris Doty-Humphrey, PractRand), seeded through splitmix32. `fork` gives a stream of its
 * own to each thing that has a name, so that one more draw here shifts nothing elsewhere. Never
 * for keys outside a simulation.
 */

import { assert } from '../src/base/assert.ts';
import type { Entropy } from '../src/nodes/ports.ts';

const TWO_TO_32 = 0x1_0000_0000;
/** Rounds that sfc32 needs until its seed is mixed into all its state. */
const WARM_UP_ROUNDS = 12;

export class Random implements Entropy {
  readonly #seedLow: number;
  readonly #seedHigh: number;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** A stream that `seed`, a safe integer, alone decides. */
  constructor(seed: number) {
    assert(Number.isSafeInteger(seed), 'a seed is a safe integer');
    this.#seedLow = seed >>> 0;
    this.#seedHigh = Math.floor(seed / TWO_TO_32) >>> 0;
    const next = splitmix32(this.#seedLow);
    this.#a = next();
    this.#b = next() ^ splitmix32(this.#seedHigh)();
    this.#c = next();
    for (let round = 0; round < WARM_UP_ROUNDS; round++) this.#draw();
  }

  /** `count` bytes, newly allocated. */
  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let at = 0; at < count; at += 4) {
      const word = this.#draw();
      bytes[at] = word;
      if (at + 1 < count) bytes[at + 1] = word >>> 8;
      if (at + 2 < count) bytes[at + 2] = word >>> 16;
      if (at + 3 < count) bytes[at + 3] = word >>> 24;
    }
    return bytes;
  }

  /** A number from 0 (included) to 1 (excluded), of 53 bits. */
  fraction(): number {
    const high = this.#draw() >>> 5;
    const low = this.#draw() >>> 6;
    return (high * 0x400_0000 + low) / 2 ** 53;
  }

  /** A whole number from 0 (included) to `below` (excluded). */
  integer(below: number): number {
    assert(Number.isSafeInteger(below) && below > 0, 'integer needs a positive bound');
    return Math.floor(this.fraction() * below);
  }

  /** True with probability `probability`; draws nothing when that is 0 or less, or 1 or more. */
  chance(probability: number): boolean {
    if (probability <= 0) return false;
    return probability >= 1 || this.fraction() < probability;
  }

  /** One item of a list that is not empty. */
  pick<Item>(list: readonly Item[]): Item {
    assert(list.length > 0, 'nothing to pick from');
    return list[this.integer(list.length)]!;
  }

  /**
   * The stream named `label` below this one. It depends on this stream's seed and the label, not
   * on what was drawn: the same label again starts the same stream again.
   */
  fork(label: string): Random {
    // FNV-1a over the label, once from each half of the seed.
    let low = this.#seedLow ^ 0x811c_9dc5;
    let high = this.#seedHigh ^ 0x9747_b28c;
    for (let index = 0; index < label.length; index++) {
      const unit = label.charCodeAt(index);
      low = Math.imul(low ^ unit, 0x0100_0193);
      high = Math.imul(high ^ unit, 0x85eb_ca6b) ^ (low >>> 15);
    }
    // 21 bits above 32 are what a safe integer holds.
    return new Random((splitmix32(high)() & 0x1f_ffff) * TWO_TO_32 + splitmix32(low)());
  }

  #draw(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }
}

function splitmix32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e37_79b9) | 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0_aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a_2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
}
