/** Who hears of the changes of a state store, and the last of them, for those who come a little later. */

import { GramlineError } from '../base/errors.ts';
import type { ChangeListener, StateChange } from '../nodes/ports.ts';

/** Changes that are remembered; a watcher that would need older ones reads everything instead. */
export const HISTORY_CHANGES_MAX = 4_096;
/** Watchers of one store at once. */
export const WATCHERS_MAX = 1_024;

export class ChangeFeed {
  readonly #listeners = new Set<ChangeListener>();
  /** The last changes, oldest first. */
  #history: StateChange[] = [];
  /** All changes after this revision are in the history. */
  #knownFrom: number;

  /** @param revision That of the store now: nothing before it is known. */
  constructor(revision: number) {
    this.#knownFrom = revision;
  }

  /** Tells all watchers of the changes of one commit or of several, in order; none of them is told twice. */
  publish(changes: readonly StateChange[]): void {
    if (changes.length === 0) return;
    this.#history.push(...changes);
    // Cut when it is twice as long, so that a change costs no copy of all the others.
    if (this.#history.length >= 2 * HISTORY_CHANGES_MAX) this.#forget();
    for (const listener of [...this.#listeners]) listener(changes);
  }

  /**
   * Tells `listener` of the changes after `from` that are known, then of those to come.
   *
   * @throws GRAMLINE_EXPIRED when some of those after `from` are not known any more, GRAMLINE_BUSY at the
   *   most watchers
   */
  watch(from: number, listener: ChangeListener): () => void {
    if (from < this.#knownFrom) {
      throw new GramlineError(
        'GRAMLINE_EXPIRED',
        `the changes after revision ${from} are not all known any more: read everything, and watch from there`,
      );
    }
    if (this.#listeners.size >= WATCHERS_MAX) {
      throw new GramlineError(
        'GRAMLINE_BUSY',
        `${WATCHERS_MAX} watchers of the state are told already: end one first`,
      );
    }
    const missed = this.#history.filter(({ revision }) => revision > from);
    // A function of its own for each watcher: the same listener may watch twice.
    const own: ChangeListener = (changes) => listener(changes);
    this.#listeners.add(own);
    if (missed.length > 0) listener(missed);
    return () => {
      this.#listeners.delete(own);
    };
  }

  /** Forgets the history: what came before `revision` is not told any more. */
  reset(revision: number): void {
    this.#history = [];
    this.#knownFrom = revision;
  }

  /** Keeps the last changes, and never a part of what one revision changed. */
  #forget(): void {
    const first = this.#history.length - HISTORY_CHANGES_MAX;
    this.#knownFrom = this.#history[first - 1]!.revision;
    this.#history = this.#history.slice(first).filter(({ revision }) => revision > this.#knownFrom);
  }
}
