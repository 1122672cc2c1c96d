/**
 * Ctrl-C and its kin: the first signal asks the command to end, the second one ends it at once.
 *
 *   running -- SIGINT, SIGTERM, SIGHUP or the parent's end --> ending -- done --> exit
 *                       ending -- another signal, or END_MILLIS_MAX --> exit at once
 */

import { InterruptedError } from './failures.ts';

/** A command that was asked to end has this long to end well. */
const END_MILLIS_MAX = 1_700;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Set by `gramline up` for its children: their stdin is a pipe from it, which closes when it ends
 * in whatever way. They then end too, and remove this directory if it could not.
 */
export const PARENT_DIRECTORY_VARIABLE = 'GRAMLINE_UP_DIRECTORY';
/** Process id of that parent: a child that has another one by now is an orphan. */
export const PARENT_PID_VARIABLE = 'GRAMLINE_UP_PID';

/** Lives as long as its process: a signal after the last line of work must not change how that ended. */
export class Interruption {
  readonly #controller = new AbortController();
  readonly #exitCode: number;

  /** @param exitCode The exit code when the end has to be forced. */
  constructor(exitCode: number) {
    this.#exitCode = exitCode;
    const isChild = process.env[PARENT_DIRECTORY_VARIABLE] !== undefined;
    for (const name of SIGNALS) {
      // Ctrl-C reaches all processes of a terminal; of a cluster in one, the parent decides.
      const isIgnored = isChild && name === 'SIGINT';
      process.on(name, () => (isIgnored ? undefined : this.#interrupt(name)));
    }
    if (isChild) {
      const onParentGone = (): void => this.#interrupt('the end of its parent');
      process.stdin.once('end', onParentGone).once('error', onParentGone).resume();
    }
  }

  /** Aborts with an InterruptedError at the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Resolves at the first signal. */
  async wait(): Promise<void> {
    if (this.signal.aborted) return;
    await new Promise((resolve) => this.signal.addEventListener('abort', resolve, { once: true }));
  }

  /** Rejects with the InterruptedError at the first signal; otherwise as `work` does. */
  async guard<Result>(work: Promise<Result>): Promise<Result> {
    const interrupted = this.wait().then((): never => {
      throw this.signal.reason;
    });
    interrupted.catch(() => undefined);
    return Promise.race([work, interrupted]);
  }

  #interrupt(why: string): void {
    if (this.signal.aborted) process.exit(this.#exitCode);
    setTimeout(() => process.exit(this.#exitCode), END_MILLIS_MAX).unref();
    this.#controller.abort(new InterruptedError(`interrupted by ${why}`));
  }
}
