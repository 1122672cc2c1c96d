/**
 * Makes a failure small: leaves out kinds of fault, single faults and single operations, as long as the
 * same invariant breaks. What is left is most of what somebody has to understand.
 */

import { planOf, type RunOptions, runSeed } from './campaign.ts';
import { InvariantError } from './cluster.ts';

/** Runs that are tried at most. */
const TRIES_MAX = 200;
/** No new try begins after so much real time. */
const MILLIS_MAX = 120_000;

export interface Minimised {
  /** How the small failure ended. */
  readonly error: InvariantError;
  readonly options: RunOptions;
  /** Names of faults and operations that are left. */
  readonly faults: readonly string[];
  readonly operations: readonly string[];
  readonly tries: number;
}

/** The runs of a minimisation, of which there are only so many. */
class Trials {
  readonly #seed: number;
  readonly #invariant: string;
  readonly #endMillis: number;
  tries = 0;

  constructor(seed: number, error: InvariantError) {
    this.#seed = seed;
    this.#invariant = error.invariant;
    this.#endMillis = performance.now() + MILLIS_MAX;
  }

  /** How a run with `options` breaks the same invariant; undefined when it does not, or no try is left. */
  async breaks(options: RunOptions): Promise<InvariantError | undefined> {
    if (this.tries >= TRIES_MAX || performance.now() > this.#endMillis) return undefined;
    this.tries += 1;
    try {
      await runSeed(this.#seed, options);
    } catch (error) {
      if (error instanceof InvariantError && error.invariant === this.#invariant) return error;
    }
    return undefined;
  }
}

/** The smallest run that could be found of `seed` which still breaks as `error` says. */
export async function minimise(seed: number, options: RunOptions, error: InvariantError): Promise<Minimised> {
  const trials = new Trials(seed, error);
  const plan = planOf(seed, options);
  let small: RunOptions = { ...options, faults: plan.kinds, without: options.without ?? [] };
  let last = error;
  const attempt = async (candidate: RunOptions): Promise<boolean> => {
    const broken = await trials.breaks(candidate);
    if (broken === undefined) return false;
    [small, last] = [candidate, broken];
    return true;
  };
  for (const kind of plan.kinds) {
    await attempt({ ...small, faults: small.faults!.filter((other) => other !== kind) });
  }
  const faultsLeft = (): string[] => {
    const gone = new Set(small.without);
    return planOf(seed, small)
      .planned.map(({ id }) => id)
      .filter((id) => !gone.has(id));
  };
  const operationsLeft = (): string[] => {
    const gone = new Set(small.without);
    return last.operations.filter((id) => !gone.has(id));
  };
  for (const left of [faultsLeft, operationsLeft]) {
    // Halves first, then smaller parts, down to single ones.
    for (let size = Math.ceil(left().length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
      let items = left();
      for (let at = 0; at < items.length; ) {
        const part = items.slice(at, at + size);
        const isGone = await attempt({ ...small, without: [...small.without!, ...part] });
        if (isGone) items = left();
        else at += size;
      }
    }
  }
  return {
    error: last,
    options: small,
    faults: faultsLeft(),
    operations: operationsLeft(),
    tries: trials.tries,
  };
}
