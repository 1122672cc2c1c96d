/**
 * Which packet numbers were already accepted: a sliding bitmap in a ring of words, after RFC 6479.
 *
 * The receiver checks a number, opens the packet, and only then commits the number [REPLAY-1], so that
 * a forgery can't move the window. `session/` owns one per direction. Left out: gaps, acknowledgements
 * and everything else about arrival (`reliability/`).
 */

import { assert } from '../base/assert.ts';

const WORD_BITS = 32;
/** What a window begins with: most sessions are quiet, and a full window of 8,192 bits takes 2 KiB. */
const WORDS_AT_FIRST = 8;
export const REPLAY_WINDOW_BITS = 8192;
export const REPLAY_WINDOW_BITS_MAX = 2 ** 20;

/** `fresh`: may be accepted. `seen`: was accepted before. `old`: too far behind the newest to tell. */
export type ReplayVerdict = 'fresh' | 'seen' | 'old';

/** The window of one direction: numbers up to `sizeBits` behind the greatest one can be told apart. */
export class ReplayWindow {
  readonly #sizeBits: number;
  readonly #wordsMax: number;
  #words: Uint32Array;
  #wordMask: number;
  #greatest = -1;

  /** @param sizeBits A multiple of 32, at most {@link REPLAY_WINDOW_BITS_MAX}. */
  constructor(sizeBits: number = REPLAY_WINDOW_BITS) {
    assert(Number.isInteger(sizeBits) && sizeBits % WORD_BITS === 0, 'a window is a multiple of 32 bits');
    assert(sizeBits >= WORD_BITS && sizeBits <= REPLAY_WINDOW_BITS_MAX, 'a window is 32 to 2^20 bits');
    this.#sizeBits = sizeBits;
    // One word more than the window, since its two ends rarely fall on word borders; then the next
    // power of two, so that a mask finds the word.
    let words = 1;
    while (words < sizeBits / WORD_BITS + 1) words *= 2;
    this.#wordsMax = words;
    this.#words = new Uint32Array(Math.min(words, WORDS_AT_FIRST));
    this.#wordMask = this.#words.length - 1;
  }

  /** Judges `number`, a non-negative safe integer, without remembering it. */
  check(number: number): ReplayVerdict {
    assert(Number.isSafeInteger(number) && number >= 0, 'a packet number is a non-negative safe integer');
    if (number > this.#greatest) return 'fresh';
    if (this.#greatest - number > this.#sizeBits) return 'old'; // [REPLAY-2]
    return (this.#words[this.#slot(wordOf(number))]! & bitOf(number)) === 0 ? 'fresh' : 'seen'; // [REPLAY-3]
  }

  /** Remembers `number` as accepted. One that is too old changes nothing. */
  commit(number: number): void {
    assert(Number.isSafeInteger(number) && number >= 0, 'a packet number is a non-negative safe integer');
    if (this.#greatest - number > this.#sizeBits) return;
    if (number > this.#greatest) this.#advance(number);
    this.#words[this.#slot(wordOf(number))]! |= bitOf(number);
  }

  /** Clears the words that the window enters; at most the whole ring, however far it jumps. */
  #advance(number: number): void {
    const newest = wordOf(this.#greatest);
    if (wordOf(number) >= this.#words.length && this.#words.length < this.#wordsMax) this.#grow(newest);
    const entered = Math.min(wordOf(number) - newest, this.#words.length);
    for (let step = 1; step <= entered; step++) this.#words[this.#slot(newest + step)] = 0;
    this.#greatest = number;
  }

  /**
   * Takes the whole ring into use when numbers first leave the small one. Until then no number has
   * gone round it, so every word keeps its place.
   */
  #grow(newest: number): void {
    assert(newest < this.#words.length, 'a ring that grows was never gone round');
    const words = new Uint32Array(this.#wordsMax);
    words.set(this.#words);
    this.#words = words;
    this.#wordMask = words.length - 1;
  }

  /** `&` takes its operand modulo 2^32, which is exact here because the ring is a power of two. */
  #slot(word: number): number {
    return word & this.#wordMask;
  }
}

function wordOf(number: number): number {
  return Math.floor(number / WORD_BITS);
}

function bitOf(number: number): number {
  return 1 << (number % WORD_BITS);
}
