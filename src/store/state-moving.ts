/**
 * Moving a state from one store to another, as from lmdb to etcd when a cluster gets more coordinators.
 *
 *   empty -- mark, copy page by page, compare --> whole -- unmark, and note the old revision --> ready
 *   marked (a move that was interrupted) -- the same again --> ready
 *
 * Until then no coordinator opens it. Revisions of the new store go on above those of the old one, so that
 * whatever remembers one (the catalog, followers of members) sees them grow.
 */

import { equalBytes, utf8 } from '../base/bytes.ts';
import { GramlineError } from '../base/errors.ts';
import type { ChangeListener, CommitResult, Comparison, StateOperation, StateStore } from '../nodes/ports.ts';
import { Reader, Writer } from '../wire/index.ts';
import { STATE_KEY_BYTES_MAX } from './state-limits.ts';

/** Added to the revisions of a store whose state was moved there: a u48. */
const REVISION_BASE_KEY = utf8('r');
/** There while a state is being moved here. */
const MOVING_KEY = utf8('v');
const REVISION_BYTES = 6;
/** Entries of one page: a commit, and far below what one may have. */
export const PAGE_ENTRIES_MAX = 100;
const FIRST_KEY = new Uint8Array(1);
const BEHIND_ALL = new Uint8Array(STATE_KEY_BYTES_MAX).fill(0xff);
const KEY_STEP = new Uint8Array(1);

type Entry = readonly [Uint8Array, Uint8Array];

export interface MoveOptions {
  readonly from: StateStore;
  readonly to: StateStore;
  /** Entries that only live as long as somebody keeps them alive: they stay behind. */
  readonly isPassing: (key: Uint8Array) => boolean;
  readonly onProgress?: ((entries: number) => void) | undefined;
}

/**
 * Copies everything, and compares it.
 *
 * @returns how many entries were moved
 * @throws GRAMLINE_INVALID when `to` holds another state, GRAMLINE_CORRUPT when what arrived differs, and what
 *   the stores throw; the move can then be begun again
 */
export async function moveState({ from, to, isPassing, onProgress }: MoveOptions): Promise<number> {
  if (to.get(MOVING_KEY) === undefined && !isEmpty(to)) {
    throw new GramlineError(
      'GRAMLINE_INVALID',
      'the state to move to is not empty: choose another place, or clear it',
    );
  }
  await to.commit([], [{ key: MOVING_KEY, value: new Uint8Array(1) }]);
  let entries = 0;
  for (const page of pagesOf(from, (key) => isOwn(key) || isPassing(key))) {
    await to.commit(
      [],
      page.map(([key, value]) => ({ key, value })),
    );
    entries += page.length;
    onProgress?.(entries);
  }
  requireSame(from, to, isPassing);
  const base = Math.max(0, from.revision - to.revision);
  await to.commit(
    [],
    [
      { key: MOVING_KEY, value: undefined },
      { key: REVISION_BASE_KEY, value: encodeRevision(base) },
    ],
  );
  return entries;
}

/**
 * The store, with its revisions above those of the store that its state came from.
 *
 * @throws GRAMLINE_INVALID when a state is only half here
 */
export function withRevisionBase(store: StateStore): StateStore {
  if (store.get(MOVING_KEY) !== undefined) {
    throw new GramlineError(
      'GRAMLINE_INVALID',
      'a state is being moved here, or that was interrupted: move it again (gramline move-state)',
    );
  }
  const value = store.get(REVISION_BASE_KEY);
  const base = value === undefined ? 0 : new Reader(value).u48();
  return base === 0 ? store : new RebasedStateStore(store, base);
}

class RebasedStateStore implements StateStore {
  readonly #store: StateStore;
  readonly #base: number;

  constructor(store: StateStore, base: number) {
    this.#store = store;
    this.#base = base;
  }

  get clusterId(): Uint8Array {
    return this.#store.clusterId;
  }

  get revision(): number {
    return this.#store.revision + this.#base;
  }

  get isShared(): boolean {
    return this.#store.isShared;
  }

  get isCurrent(): boolean {
    return this.#store.isCurrent;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#store.get(key);
  }

  range(start: Uint8Array, end: Uint8Array, limit: number): Iterable<Entry> {
    return this.#store.range(start, end, limit);
  }

  async commit(compare: readonly Comparison[], operations: readonly StateOperation[]): Promise<CommitResult> {
    const { ok, revision } = await this.#store.commit(compare, operations);
    return { ok, revision: revision + this.#base };
  }

  lease(...parameters: Parameters<StateStore['lease']>): ReturnType<StateStore['lease']> {
    return this.#store.lease(...parameters);
  }

  keepAlive(...parameters: Parameters<StateStore['keepAlive']>): Promise<boolean> {
    return this.#store.keepAlive(...parameters);
  }

  watch(from: number, listener: ChangeListener): () => void {
    return this.#store.watch(from - this.#base, (changes) => {
      listener(changes.map((change) => ({ ...change, revision: change.revision + this.#base })));
    });
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

/** What belongs to the store that it stands in. */
function isOwn(key: Uint8Array): boolean {
  return equalBytes(key, REVISION_BASE_KEY) || equalBytes(key, MOVING_KEY);
}

function isEmpty(store: StateStore): boolean {
  for (const _entry of store.range(FIRST_KEY, BEHIND_ALL, 1)) return false;
  return true;
}

/** All entries in their order, but for those that `without` names, page by page. */
function* pagesOf(store: StateStore, without: (key: Uint8Array) => boolean): Generator<Entry[]> {
  for (let start: Uint8Array = FIRST_KEY; ; ) {
    const page = [...store.range(start, BEHIND_ALL, PAGE_ENTRIES_MAX)];
    const kept = page.filter(([key]) => !without(key));
    if (kept.length > 0) yield kept;
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE_ENTRIES_MAX) return;
    start = new Uint8Array([...last[0], ...KEY_STEP]);
  }
}

function requireSame(from: StateStore, to: StateStore, isPassing: (key: Uint8Array) => boolean): void {
  const without = (key: Uint8Array): boolean => isOwn(key) || isPassing(key);
  const arrived = entriesOf(to, without);
  for (const [key, value] of entriesOf(from, without)) {
    const other = arrived.next().value;
    if (other === undefined || !equalBytes(other[0], key) || !equalBytes(other[1], value)) throw differs();
  }
  if (arrived.next().done !== true) throw differs();
}

function* entriesOf(store: StateStore, without: (key: Uint8Array) => boolean): Generator<Entry, undefined> {
  for (const page of pagesOf(store, without)) yield* page;
}

function encodeRevision(revision: number): Uint8Array {
  const writer = new Writer(new Uint8Array(REVISION_BYTES));
  writer.u48(revision);
  return writer.buffer;
}

function differs(): GramlineError {
  return new GramlineError(
    'GRAMLINE_CORRUPT',
    'what arrived is not what was sent: does a coordinator run on one of the two? Stop it, and move the state again',
  );
}
