/** How long to wait before the next try: longer each time, and never quite as long as others wait. */

/** The first wait, milliseconds. */
export const BACK_OFF_MILLIS_MIN = 50;
/** The longest wait, milliseconds. */
export const BACK_OFF_MILLIS_MAX = 2_000;
/** The share of a wait that chance may take away. */
const JITTER = 0.5;

export class BackOff {
  readonly #fraction: () => number;
  #millis = BACK_OFF_MILLIS_MIN;

  /** @param fraction A number from 0 (included) to 1 (excluded), by chance. */
  constructor(fraction: () => number = Math.random) {
    this.#fraction = fraction;
  }

  /** The next wait, milliseconds; the one after it is twice as long, up to BACK_OFF_MILLIS_MAX. */
  next(): number {
    const millis = this.#millis * (1 - JITTER * this.#fraction());
    this.#millis = Math.min(BACK_OFF_MILLIS_MAX, this.#millis * 2);
    return millis;
  }

  /** It went well: the next wait is a short one. */
  reset(): void {
    this.#millis = BACK_OFF_MILLIS_MIN;
  }
}

/** Waits, at most until `signal` aborts; never rejects. */
export function pause(millis: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, millis);
    signal.addEventListener('abort', done, { once: true });
  });
}
