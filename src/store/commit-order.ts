/**
 * Which of many commits may be under way at the same time: those that do not touch each other's keys.
 *
 * A commit waits for every earlier one that writes what it compares or writes, or compares what it
 * writes. So on every key things happen in the order of the calls, whatever overtakes what elsewhere.
 * Pure; time and memory grow with the keys of the commits that are here.
 */

/** A commit in its place. */
export interface Turn<Commit> {
  readonly commit: Commit;
  readonly reads: readonly string[];
  readonly writes: readonly string[];
  /** How many it waits for; one that stands in its way for two reasons counts twice. */
  waitsFor: number;
  /** Those that wait for it; most have none. */
  followers: Turn<Commit>[] | undefined;
}

interface KeyUse<Commit> {
  /** The last that writes it. */
  writer: Turn<Commit> | undefined;
  /** Those behind that which compare it; most keys have none. */
  readers: Set<Turn<Commit>> | undefined;
}

export class CommitOrder<Commit> {
  readonly #uses = new Map<string, KeyUse<Commit>>();
  #ready: Turn<Commit>[] = [];
  /** Those of `#ready` before it are taken. */
  #taken = 0;

  /** Commits that nothing stands in the way of. */
  get ready(): number {
    return this.#ready.length - this.#taken;
  }

  /** Adds a commit behind all others. */
  add(commit: Commit, reads: readonly string[], writes: readonly string[]): void {
    const turn: Turn<Commit> = { commit, reads, writes, waitsFor: 0, followers: undefined };
    for (const name of writes) {
      const use = this.#use(name);
      // Readers wait for the writer before them: whoever waits for them waits for that one as well.
      if (use.readers === undefined) waitFor(turn, use.writer);
      else for (const reader of use.readers) waitFor(turn, reader);
      use.readers = undefined;
      use.writer = turn;
    }
    for (const name of reads) {
      const use = this.#use(name);
      if (use.writer === turn) continue;
      waitFor(turn, use.writer);
      use.readers ??= new Set();
      use.readers.add(turn);
    }
    if (turn.waitsFor === 0) this.#ready.push(turn);
  }

  /** The next that is ready, not taken. */
  peek(): Commit | undefined {
    return this.#ready[this.#taken]?.commit;
  }

  /** Takes the next that is ready; those behind it wait until it is `done`. */
  take(): Turn<Commit> | undefined {
    const turn = this.#ready[this.#taken];
    if (turn === undefined) return undefined;
    this.#taken += 1;
    if (this.#taken * 2 > this.#ready.length) {
      this.#ready = this.#ready.slice(this.#taken);
      this.#taken = 0;
    }
    return turn;
  }

  /** A commit that was taken has been answered: once each. */
  done(turn: Turn<Commit>): void {
    for (const name of turn.writes) this.#forget(name, turn);
    for (const name of turn.reads) this.#forget(name, turn);
    for (const follower of turn.followers ?? []) {
      follower.waitsFor -= 1;
      if (follower.waitsFor === 0) this.#ready.push(follower);
    }
  }

  #use(name: string): KeyUse<Commit> {
    let use = this.#uses.get(name);
    if (use === undefined) {
      use = { writer: undefined, readers: undefined };
      this.#uses.set(name, use);
    }
    return use;
  }

  #forget(name: string, turn: Turn<Commit>): void {
    const use = this.#uses.get(name);
    if (use === undefined) return;
    if (use.writer === turn) use.writer = undefined;
    if (use.readers?.delete(turn) === true && use.readers.size === 0) use.readers = undefined;
    if (use.writer === undefined && use.readers === undefined) this.#uses.delete(name);
  }
}

function waitFor<Commit>(turn: Turn<Commit>, earlier: Turn<Commit> | undefined): void {
  if (earlier === undefined) return;
  earlier.followers ??= [];
  earlier.followers.push(turn);
  turn.waitsFor += 1;
}
