/** Order among operations on one object: storing, settling and removing it never overlap. */

/** Operations on objects of different lanes run at the same time. */
const LANES = 64;

/** A fixed number of queues; the first byte of a hash, which is evenly spread, picks one. */
export class ObjectLanes {
  readonly #tails: Promise<unknown>[] = Array.from({ length: LANES }, () => Promise.resolve());

  /** Runs `task` when all earlier tasks of this object are through. */
  run<T>(hash: Uint8Array, task: () => Promise<T>): Promise<T> {
    const lane = (hash[0] ?? 0) % LANES;
    const result = this.#tails[lane]!.then(task);
    this.#tails[lane] = result.catch(() => {});
    return result;
  }

  /** Resolves when all tasks so far are through. */
  async idle(): Promise<void> {
    await Promise.all(this.#tails);
  }
}
