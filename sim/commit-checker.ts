/** Which commits were acknowledged, and whether the catalog still has them: judges `Invariant.COMMIT_KEPT`. */

import { fromHex, toHex } from '../src/base/bytes.ts';
import type { StateStore } from '../src/nodes/ports.ts';
import { objectKey } from '../src/nodes/state-keys.ts';
import type { CommitQuery, RemoveQuery } from '../src/wire/index.ts';
import { Invariant, type Violations } from './checkers.ts';

/** Commits and removals that are remembered in full, for a client that repeats one. */
const KEPT_MAX = 64;

export class CommitChecker {
  readonly #violations: Violations;
  readonly #committed = new Set<string>();
  /** Removals under way: a commit that is answered meanwhile may be undone by them. */
  readonly #removals = new Map<string, number>();
  /** The last commits that coordinators were asked for, oldest first, whatever became of them. */
  readonly asked: CommitQuery[] = [];
  /** The same of removals. */
  readonly removalsAsked: RemoveQuery[] = [];

  constructor(violations: Violations) {
    this.#violations = violations;
  }

  /** COMMIT arrived. */
  onCommitArrives(commit: CommitQuery): void {
    this.asked.push(commit);
    if (this.asked.length > KEPT_MAX) this.asked.shift();
  }

  /** A coordinator starts: what its predecessor was about to do it will not do any more. */
  onStart(): void {
    this.#removals.clear();
  }

  /** A commit was answered OK, or that the object is there. */
  onCommitted(hash: Uint8Array): void {
    const name = toHex(hash);
    if (!this.#removals.has(name)) this.#committed.add(name);
  }

  /** REMOVE arrived: whether and when it takes effect is open from now on. */
  onRemovalBegins(removal: RemoveQuery): void {
    this.removalsAsked.push(removal);
    if (this.removalsAsked.length > KEPT_MAX) this.removalsAsked.shift();
    const name = toHex(removal.hash);
    this.#committed.delete(name);
    this.#removals.set(name, (this.#removals.get(name) ?? 0) + 1);
  }

  onRemovalEnds(hash: Uint8Array): void {
    const name = toHex(hash);
    const left = (this.#removals.get(name) ?? 1) - 1;
    if (left > 0) this.#removals.set(name, left);
    else this.#removals.delete(name);
  }

  /** To be called whenever the state may have lost something: after a crash, and at the end. */
  check(state: Pick<StateStore, 'get'>): void {
    for (const name of this.#committed) {
      if (state.get(objectKey(fromHex(name)!)) !== undefined) continue;
      this.#violations.report(
        Invariant.COMMIT_KEPT,
        `${name.slice(0, 12)} was committed, and is not in the catalog`,
      );
    }
  }
}
