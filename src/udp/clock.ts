/** The machine's clock and chance, as the ports that the roles use. */

import { randomBytes } from 'node:crypto';
import { type Micros, micros } from '../base/units.ts';
import type { Clock, Entropy, Timer } from '../nodes/ports.ts';

const MICROS_PER_MILLI = 1000;
/** Longest span of `setTimeout`; a later timer is set again when it ends. */
const TIMEOUT_MILLIS_MAX = 2 ** 31 - 1;
/**
 * A timer that is so late comes behind what arrived meanwhile: a process that stood still has not heard for
 * long of anybody, but what they said waits in its sockets, and the event loop runs timers first.
 */
export const LATE_MILLIS = 10;

/** Monotonic time of this process. */
export const systemClock: Clock = {
  now: () => micros(Math.floor(performance.now() * MICROS_PER_MILLI)),
  wallMillis: () => Date.now(),
  setTimer(at: Micros, run: () => void): Timer {
    let timeout: NodeJS.Timeout;
    let behind: NodeJS.Immediate | undefined;
    const leftMillis = (): number => at / MICROS_PER_MILLI - performance.now();
    const fire = (): void => {
      if (leftMillis() > -LATE_MILLIS) run();
      else behind = setImmediate(run);
    };
    const arm = (): void => {
      const left = leftMillis();
      if (left > TIMEOUT_MILLIS_MAX) timeout = setTimeout(arm, TIMEOUT_MILLIS_MAX);
      else timeout = setTimeout(fire, Math.max(0, Math.ceil(left)));
    };
    arm();
    return {
      cancel: () => {
        clearTimeout(timeout);
        clearImmediate(behind);
      },
    };
  },
};

/** Random bytes are drawn in blocks of this size: a call costs as much as a sealed packet. */
const BLOCK_BYTES = 4_096;
let block = new Uint8Array(0);
let drawn = 0;

function randomTake(count: number): Uint8Array {
  if (count > BLOCK_BYTES) return new Uint8Array(randomBytes(count));
  if (block.length - drawn < count) {
    block = new Uint8Array(randomBytes(BLOCK_BYTES));
    drawn = 0;
  }
  const bytes = block.slice(drawn, drawn + count);
  // What was handed out may become a key: no copy of it stays here.
  block.fill(0, drawn, drawn + count);
  drawn += count;
  return bytes;
}

/** The operating system's random numbers. */
export const systemEntropy: Entropy = {
  bytes: randomTake,
  fraction: () => {
    const bytes = randomTake(4);
    return new DataView(bytes.buffer).getUint32(0) / 2 ** 32;
  },
};

/** Within this long of the last one, what is deferred waits for the end of the event loop's turn. */
const TOGETHER_MILLIS = 0.02;
let lastRanAt = Number.NEGATIVE_INFINITY;

/**
 * Runs a function after what is going on now: as soon as the program has nothing more to do by itself, so
 * that a lone query does not wait; or, where one has just run, when this turn of the event loop has handed
 * in all that it has, so that they share datagrams.
 */
export function deferToTurn(run: () => void): void {
  const now = performance.now();
  if (now - lastRanAt < TOGETHER_MILLIS) {
    setImmediate(run);
    return;
  }
  lastRanAt = now;
  process.nextTick(run);
}
