/** The machine's clock and chance, as the ports that the roles use. */

import { randomBytes } from 'node:crypto';
import { type Micros, micros } from '../base/units.ts';
import type { Clock, Entropy, Timer } from '../nodes/ports.ts';

const MICROS_PER_MILLI = 1000;
/** Longest span of `setTimeout`; a later timer is set again when it ends. */
const TIMEOUT_MILLIS_MAX = 2 ** 31 - 1;

/** Monotonic time of this process. */
export const systemClock: Clock = {
  now: () => micros(Math.floor(performance.now() * MICROS_PER_MILLI)),
  wallMillis: () => Date.now(),
  setTimer(at: Micros, run: () => void): Timer {
    let handle: NodeJS.Timeout;
    const arm = (): void => {
      const left = (at - performance.now() * MICROS_PER_MILLI) / MICROS_PER_MILLI;
      if (left > TIMEOUT_MILLIS_MAX) handle = setTimeout(arm, TIMEOUT_MILLIS_MAX);
      else handle = setTimeout(run, Math.max(0, Math.ceil(left)));
    };
    arm();
    return { cancel: () => clearTimeout(handle) };
  },
};

/** The operating system's random numbers. */
export const systemEntropy: Entropy = {
  bytes: (count) => new Uint8Array(randomBytes(count)),
  fraction: () => randomBytes(4).readUInt32BE() / 2 ** 32,
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
