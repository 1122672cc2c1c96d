/** The replay window against wireguard-go's trace and against a set that forgets nothing. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AssertionError } from '../../src/base/assert.ts';
import {
  REPLAY_WINDOW_BITS,
  REPLAY_WINDOW_BITS_MAX,
  type ReplayVerdict,
  ReplayWindow,
} from '../../src/crypto/replay-window.ts';
import { readVectors } from './support.ts';

interface ReplayCase {
  readonly window: number;
  readonly limit: string;
  readonly steps: readonly (readonly [string, boolean])[];
}

/** The rule itself, with a set: no ring, no words, no masks, and any integer. */
class NaiveWindow {
  readonly #seen = new Set<bigint>();
  readonly #sizeBits: bigint;
  #greatest = -1n;

  constructor(sizeBits: number) {
    this.#sizeBits = BigInt(sizeBits);
  }

  check(number: bigint): ReplayVerdict {
    if (this.#greatest - number > this.#sizeBits) return 'old';
    return this.#seen.has(number) ? 'seen' : 'fresh';
  }

  commit(number: bigint): void {
    if (this.#greatest - number > this.#sizeBits) return;
    this.#seen.add(number);
    if (number > this.#greatest) this.#greatest = number;
  }
}

describe('the replay window', () => {
  const { cases } = readVectors<{ cases: ReplayCase[] }>('replay-window-wireguard-go');

  it('has two traces of 34 steps to pass', () => {
    expect(cases.map(({ window, steps }) => [window, steps.length])).toEqual([
      [1024, 34],
      [8128, 34],
    ]);
  });

  /**
   * The trace ends near 2^64, where plain numbers are inexact. The window sees only order and
   * distance, so numbers near the trace's limit are moved down by one constant to just below 2^53.
   * The jump there stays far wider than the window. The limit itself is no matter of the window: in
   * Gramline the packet number has 48 bits on the wire.
   */
  it.each(cases)('passes the trace of wireguard-go for $window bits', ({ window, limit, steps }) => {
    const offset = BigInt(limit) - BigInt(Number.MAX_SAFE_INTEGER);
    const replay = new ReplayWindow(window);
    const naive = new NaiveWindow(window);
    for (const [index, [text, isAccepted]] of steps.entries()) {
      const number = BigInt(text);
      const isBelowLimit = number < BigInt(limit);
      const verdict = isBelowLimit ? replay.check(Number(number < offset ? number : number - offset)) : 'old';
      const isFresh = isBelowLimit && verdict === 'fresh';
      expect(isFresh, `step ${index}: ${text}`).toBe(isAccepted);
      expect(isBelowLimit && naive.check(number) === 'fresh', `naive step ${index}`).toBe(isAccepted);
      if (isFresh) {
        replay.commit(Number(number < offset ? number : number - offset));
        naive.commit(number);
      }
    }
  });

  it('tells seen from old [REPLAY-2] [REPLAY-3]', () => {
    const replay = new ReplayWindow(64);
    expect(replay.check(0)).toBe('fresh');
    replay.commit(0);
    expect(replay.check(0)).toBe('seen');
    replay.commit(64);
    expect(replay.check(0)).toBe('seen');
    expect(replay.check(1)).toBe('fresh');
    replay.commit(65);
    expect(replay.check(0)).toBe('old');
    expect(replay.check(1)).toBe('fresh');
  });

  it('does not move or remember by checking alone [REPLAY-1]', () => {
    const replay = new ReplayWindow(64);
    replay.commit(5);
    expect(replay.check(1_000_000)).toBe('fresh');
    expect(replay.check(1_000_000)).toBe('fresh');
    expect(replay.check(6)).toBe('fresh');
    expect(replay.check(5)).toBe('seen');
  });

  it('changes nothing when a number that is too old is committed', () => {
    const replay = new ReplayWindow(32);
    replay.commit(10_000);
    // The same slot of the ring as a number within the window.
    for (let number = 0; number < 9968; number++) replay.commit(number);
    for (let number = 9968; number < 10_000; number++) expect(replay.check(number)).toBe('fresh');
  });

  it('reaches 8,192 back by default, and not one further', () => {
    const replay = new ReplayWindow();
    replay.commit(100_000);
    expect(replay.check(100_000 - REPLAY_WINDOW_BITS)).toBe('fresh');
    expect(replay.check(100_000 - REPLAY_WINDOW_BITS - 1)).toBe('old');
  });

  it('keeps what it knows when its ring grows', () => {
    for (const next of [255, 256, 257, 300, 8191, 8192]) {
      const replay = new ReplayWindow();
      for (let number = 0; number < 256; number += 3) replay.commit(number);
      replay.commit(next);
      for (let number = Math.max(0, next - REPLAY_WINDOW_BITS); number < 256; number++) {
        const isSeen = number % 3 === 0 || number === next;
        expect(replay.check(number), `${number} after ${next}`).toBe(isSeen ? 'seen' : 'fresh');
      }
    }
  });

  it('forgets the whole ring after a jump over it', () => {
    const replay = new ReplayWindow(64);
    for (let number = 0; number < 200; number++) replay.commit(number);
    replay.commit(2 ** 47);
    for (let back = 1; back <= 64; back++) expect(replay.check(2 ** 47 - back)).toBe('fresh');
    expect(replay.check(2 ** 47 - 65)).toBe('old');
  });

  it('asserts on sizes and numbers that make no sense', () => {
    for (const bits of [0, 1, 33, -32, 32.5, REPLAY_WINDOW_BITS_MAX + 32]) {
      expect(() => new ReplayWindow(bits), `${bits} bits`).toThrow(AssertionError);
    }
    const largest = new ReplayWindow(REPLAY_WINDOW_BITS_MAX);
    for (const number of [-1, 0.5, Number.NaN, 2 ** 53]) {
      expect(() => largest.check(number)).toThrow(AssertionError);
      expect(() => largest.commit(number)).toThrow(AssertionError);
    }
  });

  it('judges like the naive window, whatever comes', () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.integer({ min: -40, max: 40 }) },
      { weight: 3, arbitrary: fc.integer({ min: -400, max: 400 }) },
      { weight: 1, arbitrary: fc.integer({ min: 0, max: 2 ** 40 }) },
    );
    const tally: Record<ReplayVerdict, number> = { fresh: 0, seen: 0, old: 0 };
    fc.assert(
      fc.property(
        fc.constantFrom(32, 64, 96, 256, 1024),
        fc.constantFrom(0, 31, 2 ** 32 - 20, 2 ** 48 - 300),
        fc.array(fc.tuple(step, fc.boolean()), { minLength: 20, maxLength: 150, size: 'max' }),
        (sizeBits, start, moves) => {
          const replay = new ReplayWindow(sizeBits);
          const naive = new NaiveWindow(sizeBits);
          let number = start;
          for (const [distance, isAuthentic] of moves) {
            number = Math.max(0, number + distance);
            const verdict = replay.check(number);
            expect(verdict).toBe(naive.check(BigInt(number)));
            tally[verdict]++;
            if (!isAuthentic) continue;
            replay.commit(number);
            naive.commit(BigInt(number));
          }
        },
      ),
      { numRuns: 300 },
    );
    for (const verdict of ['fresh', 'seen', 'old'] as const)
      expect(tally[verdict], verdict).toBeGreaterThan(100);
  });
});
