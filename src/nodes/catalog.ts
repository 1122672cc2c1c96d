/**
 * The catalog: which object is where. Every entry is a key of the state store, which is the truth;
 * an index in memory follows each commit, and answers where an object is without asking the store.
 *
 * Keys: `o` hash -> entry, `t` hash -> tombstone, `c` -> totals (`catalog-entry.ts`).
 */

import { concatBytes, equalBytes, toHex, utf8 } from '../base/bytes.ts';
import { GramlineError, isGramlineError } from '../base/errors.ts';
import { mark, marked } from '../base/marks.ts';
import { REPLICAS_MAX } from '../wire/index.ts';
import {
  type CatalogEntry,
  type CatalogTotals,
  decodeEntry,
  decodeMillis,
  decodeTotals,
  encodeEntry,
  encodeMillis,
  encodeTotals,
  hasReplica,
  KEY_STEP,
  OBJECT_END,
  OBJECT_PREFIX,
  scanEntry,
} from './catalog-entry.ts';
import { type HeldObject, heldInMemory, heldInStore } from './catalog-held.ts';
import { CatalogIndex } from './catalog-index.ts';
import { NodeNumbers } from './node-numbers.ts';
import type { Comparison, StateOperation, StateStore } from './ports.ts';

const TOMBSTONE_PREFIX = utf8('t');
const TOMBSTONE_END = utf8('u');
const TOTALS_KEY = utf8('c');
/** A commit that lost against another is tried again this often. */
const COMMIT_TRIES_MAX = 16;
/** Removed objects are remembered this long, so that a node that was away does not bring them back. */
const TOMBSTONE_MILLIS = 30 * 24 * 3_600_000;
/** Changes under way or waiting for their turn; one more is refused as busy. */
export const CHANGES_MAX = 65_536;
/** Entries that are read into the index in one go: about a millisecond. */
export const LOAD_ENTRIES_MAX = 512;
/** Tombstones looked at in one sweep. */
const TOMBSTONE_SWEEP_MAX = 10_000;

/** Whether a commit made the entry, found one, or changed nothing. */
export type CommitOutcome = 'created' | 'added' | 'void';

/** What is to become of an entry. */
type EntryChange = (entry: CatalogEntry | undefined) => CatalogEntry | 'keep' | 'remove';

/** What is known of an object, without a look at the state store. */
export interface PlacesInMemory {
  readonly bytes: number;
  /** How many of `replicas` count. */
  readonly count: number;
  /** Numbers of the nodes that hold it. */
  readonly replicas: Uint16Array;
}

export class Catalog {
  /** Numbers of the nodes that hold objects. */
  readonly numbers: NodeNumbers = new NodeNumbers();
  readonly #state: StateStore;
  readonly #index: CatalogIndex;
  /** Whether every object is in the index: otherwise one that it lacks may be in the store. */
  #isIndexed = false;
  readonly #replicas = new Uint16Array(REPLICAS_MAX);
  /** The last change under way of each object. */
  readonly #turns = new Map<string, Promise<void>>();
  #changesUnderWay = 0;
  #totals: CatalogTotals;
  /** Whether the totals in the store may count a commit that failed. */
  #totalsDoubtful = false;
  /** Whether the totals are to be held against the index, which has just been filled. */
  #recountDue = false;

  /** @param seed 8 bytes of chance for the index. */
  constructor(state: StateStore, seed?: Uint8Array) {
    this.#state = state;
    this.#index = new CatalogIndex(seed);
    this.#totals = decodeTotals(state.get(TOTALS_KEY));
  }

  /** Whether `find` needs the state store for no object that it can hold. */
  get isIndexed(): boolean {
    return this.#isIndexed;
  }

  /** Bytes of memory that the index takes. */
  get indexBytes(): number {
    return this.#index.memoryBytes;
  }

  /**
   * Fills the index from the state store, page by page. Meanwhile `find` says 'elsewhere' of what it
   * has not met. An index that grows full stays as it is.
   *
   * @param pause Awaited between pages, so that others have their turn; true ends the work.
   */
  async load(pause: () => Promise<boolean>): Promise<void> {
    let isComplete = true;
    for (let start: Uint8Array = OBJECT_PREFIX; ; ) {
      let entries = 0;
      for (const [key, value] of this.#state.range(start, OBJECT_END, LOAD_ENTRIES_MAX)) {
        entries += 1;
        start = key;
        isComplete = this.#enter(key.subarray(1), value) && isComplete;
      }
      if (entries < LOAD_ENTRIES_MAX) break;
      // The least key behind the last.
      start = concatBytes(start, KEY_STEP);
      if (await pause()) return;
    }
    this.#isIndexed = isComplete;
    this.#recountDue = isComplete;
    this.#recount();
  }

  /**
   * Looks for the object whose hash stands in `hash` at `at`, and never waits. 'here': `found` tells
   * of it until the next call. 'elsewhere': memory does not say, and `lookup` does.
   */
  find(hash: Uint8Array, at = 0): 'here' | 'elsewhere' | 'unknown' {
    const answer = this.#index.find(hash, at);
    return answer === 'unknown' && !this.#isIndexed ? 'elsewhere' : answer;
  }

  get found(): PlacesInMemory {
    return this.#index;
  }

  get revision(): number {
    return this.#state.revision;
  }

  get totals(): CatalogTotals {
    return this.#totals;
  }

  /** Stores the totals anew where a commit that failed may have left wrong ones. */
  async mendTotals(): Promise<void> {
    if (!this.#totalsDoubtful) return;
    mark('totals-mended');
    this.#totalsDoubtful = false;
    try {
      await this.#state.commit([], [{ key: TOTALS_KEY, value: encodeTotals(this.#totals) }]);
    } catch (error) {
      this.#totalsDoubtful = true;
      throw error;
    }
  }

  /** The entry of an object, or undefined. Never waits. */
  lookup(hash: Uint8Array): CatalogEntry | undefined {
    const value = this.#state.get(objectKey(hash));
    return value === undefined ? undefined : decodeEntry(value);
  }

  /** Whether this object was removed on purpose. */
  isRemoved(hash: Uint8Array): boolean {
    return this.#state.get(tombstoneKey(hash)) !== undefined;
  }

  /** Whether memory alone says that `nodeId` holds the object, and no change of it is under way. */
  holds(hash: Uint8Array, nodeId: Uint8Array): boolean {
    if (this.#index.find(hash) !== 'here') return false;
    if (this.#turns.size > 0 && this.#turns.has(toHex(hash))) return false;
    return this.#index.isReplica(this.numbers.of(nodeId));
  }

  /**
   * All objects of which `nodeId` holds a replica, as the catalog has it, but for those in `without`,
   * part by part. Entries that change meanwhile may be told as they were or as they are; all others
   * are told once.
   *
   * @param pause Awaited between parts, with the work that the next one is, so that others have their turn.
   */
  heldBy(
    nodeId: Uint8Array,
    pause: (entries: number) => Promise<void>,
    without: CatalogIndex = new CatalogIndex(),
  ): AsyncIterable<HeldObject> {
    const number = this.numbers.of(nodeId);
    return this.#isIndexed && number !== undefined
      ? heldInMemory(this.#state, this.#index, { nodeId, number }, pause, without)
      : heldInStore(this.#state, nodeId, pause, without);
  }

  /**
   * Creates the entry, or adds the replicas to it, up to the maximum. Durable when it resolves. The
   * entry is written even when it names them all: they were stored anew, which an inventory that
   * began earlier does not know.
   *
   * @param isVoid Asked when this object's earlier changes are through: then nothing is changed.
   */
  async commit(
    hash: Uint8Array,
    bytes: number,
    replicas: readonly Uint8Array[],
    nowMillis: number,
    isVoid: () => boolean = () => false,
  ): Promise<CommitOutcome> {
    let outcome: CommitOutcome = 'void';
    const isDone = await this.#update(hash, (entry) => {
      if (isVoid()) return 'keep';
      outcome = entry === undefined ? 'created' : marked('commit-added', 'added');
      return entry === undefined
        ? newEntry(bytes, replicas, nowMillis)
        : { ...entry, replicas: joined(entry, replicas) };
    });
    return isDone ? outcome : 'void';
  }

  /**
   * A node holds this object: creates the entry, or adds the node to it. Whether it did.
   *
   * @param mayAdopt Asked when this object's earlier changes are through, and told whether the
   * object was removed.
   */
  async adopt(
    hash: Uint8Array,
    bytes: number,
    nodeId: Uint8Array,
    mayAdopt: (isRemoved: boolean) => boolean,
  ): Promise<boolean> {
    return this.#update(hash, (entry) => {
      if (!mayAdopt(entry === undefined && this.isRemoved(hash))) return 'keep';
      if (entry === undefined) return newEntry(bytes, [nodeId], 0);
      const replicas = joined(entry, [nodeId]);
      return replicas.length === entry.replicas.length ? 'keep' : { ...entry, replicas };
    });
  }

  /** Calls `run` with what became of the object once its earlier changes are through. */
  async afterChanges(hash: Uint8Array, run: (isRemoved: boolean) => void): Promise<void> {
    await this.#update(hash, (entry) => {
      run(entry === undefined && this.isRemoved(hash));
      return 'keep';
    });
  }

  /** A node no longer holds this object. The entry stays, even without replicas: the loss is known. */
  async removeReplica(
    hash: Uint8Array,
    nodeId: Uint8Array,
    writtenUpTo = Number.MAX_SAFE_INTEGER,
  ): Promise<boolean> {
    return this.#update(hash, (entry) => {
      if (entry === undefined || entry.revision > writtenUpTo || !hasReplica(entry, nodeId)) return 'keep';
      return { ...entry, replicas: entry.replicas.filter((replica) => !equalBytes(replica, nodeId)) };
    });
  }

  /**
   * Removes the object and remembers that it was removed; returns what it was.
   *
   * @param onRemoving Called before the removal is on its way to the disk, with what is about to
   * be removed, again where that has changed meanwhile. What it throws, the removal rejects with.
   */
  async remove(
    hash: Uint8Array,
    nowMillis: number,
    onRemoving: (entry: CatalogEntry) => void = () => {},
  ): Promise<CatalogEntry | undefined> {
    let removed: CatalogEntry | undefined;
    const isDone = await this.#update(
      hash,
      (entry) => {
        removed = entry;
        if (entry === undefined) return 'keep';
        onRemoving(entry);
        return 'remove';
      },
      nowMillis,
    );
    return isDone ? removed : undefined;
  }

  /** Forgets tombstones that are old enough. */
  async sweepTombstones(nowMillis: number): Promise<void> {
    const old: StateOperation[] = [];
    for (const [key, value] of this.#state.range(TOMBSTONE_PREFIX, TOMBSTONE_END, TOMBSTONE_SWEEP_MAX)) {
      if (decodeMillis(value) + TOMBSTONE_MILLIS < nowMillis)
        old.push({ key: key.slice(), value: undefined });
    }
    if (old.length > 0) await this.#state.commit([], old);
  }

  /** Changes of one object wait for each other: of two removals at once both would count in the totals. */
  #update(hash: Uint8Array, change: EntryChange, nowMillis = 0): Promise<boolean> {
    if (this.#changesUnderWay >= CHANGES_MAX) return Promise.reject(catalogBusy());
    this.#changesUnderWay += 1;
    const name = toHex(hash);
    const earlier = this.#turns.get(name) ?? Promise.resolve();
    const turn = earlier.then(() => this.#change(hash, change, nowMillis));
    const ended: Promise<void> = turn.then(
      () => this.#endTurn(name, ended),
      () => this.#endTurn(name, ended),
    );
    this.#turns.set(name, ended);
    return turn;
  }

  #endTurn(name: string, turn: Promise<void>): void {
    this.#changesUnderWay -= 1;
    if (this.#turns.get(name) === turn) this.#turns.delete(name);
    this.#recount();
  }

  /** A crash may have come before totals were mended: at the start they are counted, once no change is under way. */
  #recount(): void {
    if (!this.#recountDue || this.#changesUnderWay > 0) return;
    this.#recountDue = false;
    const counted = { objects: this.#index.size, bytes: this.#index.objectBytes };
    const { objects, bytes } = this.#totals;
    if (!this.#isIndexed || (objects === counted.objects && bytes === counted.bytes)) return;
    this.#totals = counted;
    this.#totalsDoubtful = true;
  }

  async #change(hash: Uint8Array, change: EntryChange, nowMillis: number): Promise<boolean> {
    const key = objectKey(hash);
    for (let attempt = 0; attempt < COMMIT_TRIES_MAX; attempt++) {
      const before = this.#state.get(key);
      const entry = before === undefined ? undefined : decodeEntry(before);
      const next = change(entry);
      if (next === 'keep') return false;
      const compare: Comparison[] = [{ key, equals: before }];
      const operations: StateOperation[] = [];
      const totals = this.#totals;
      let { objects, bytes } = totals;
      let stored: Uint8Array | undefined;
      if (next === 'remove') {
        objects -= 1;
        bytes -= entry!.bytes;
        operations.push(
          { key, value: undefined },
          { key: tombstoneKey(hash), value: encodeMillis(nowMillis) },
        );
      } else {
        if (entry === undefined) {
          objects += 1;
          bytes += next.bytes;
          operations.push({ key: tombstoneKey(hash), value: undefined });
        }
        stored = encodeEntry({ ...next, revision: this.#state.revision + 1 });
        operations.push({ key, value: stored });
      }
      // Totals are counted here before the commit is durable, and taken back when it fails: commits
      // under way at the same time then write totals that include each other.
      const objectsDelta = objects - totals.objects;
      const bytesDelta = bytes - totals.bytes;
      this.#totals = { objects, bytes };
      operations.push({ key: TOTALS_KEY, value: encodeTotals(this.#totals) });
      const undo = (): void => {
        // Commits beside this one may have stored totals that include it.
        this.#totalsDoubtful = true;
        this.#totals = {
          objects: this.#totals.objects - objectsDelta,
          bytes: this.#totals.bytes - bytesDelta,
        };
      };
      try {
        const { ok } = await this.#state.commit(compare, operations);
        if (ok) {
          // Durable first, then to be seen.
          if (next === 'remove') this.#index.delete(hash);
          else this.#isIndexed = this.#enter(hash, stored!) && this.#isIndexed;
          return true;
        }
      } catch (error) {
        mark('catalog-commit-failed');
        undo();
        this.#reenter(hash);
        // That no object fits is another matter than that the catalog's own disk is full.
        if (!isGramlineError(error, 'GRAMLINE_NO_SPACE')) throw error;
        throw new GramlineError('GRAMLINE_IO', 'the disk of the catalog is full', { cause: error });
      }
      undo();
    }
    return false;
  }

  /** A commit failed, and may have reached the store all the same. */
  #reenter(hash: Uint8Array): void {
    try {
      const value = this.#state.get(objectKey(hash));
      if (value === undefined) this.#index.delete(hash);
      else this.#isIndexed = this.#enter(hash, value) && this.#isIndexed;
    } catch {
      // The store is closed: nobody asks any more.
    }
  }

  /** Puts an entry into the index; false when that is full. */
  #enter(hash: Uint8Array, value: Uint8Array): boolean {
    let count = 0;
    let isHere = true;
    const bytes = scanEntry(value, (at) => {
      const number = this.numbers.of(value, at);
      if (number === undefined || count === REPLICAS_MAX) isHere = false;
      else this.#replicas[count++] = number;
    });
    return this.#index.put(hash, bytes, isHere ? this.#replicas : undefined, count) && isHere;
  }
}

function newEntry(bytes: number, replicas: readonly Uint8Array[], createdMillis: number): CatalogEntry {
  return { bytes, createdMillis, revision: 0, requests: 0, expiresMillis: 0, replicas };
}

/** The replicas of an entry and these, up to the maximum. */
function joined(entry: CatalogEntry, replicas: readonly Uint8Array[]): Uint8Array[] {
  const fresh = replicas.filter((nodeId) => !hasReplica(entry, nodeId));
  return [...entry.replicas, ...fresh].slice(0, REPLICAS_MAX);
}

function catalogBusy(): GramlineError {
  return new GramlineError(
    'GRAMLINE_BUSY',
    `${CHANGES_MAX} changes of the catalog are under way: retry when some are through`,
    { retryable: true },
  );
}

function objectKey(hash: Uint8Array): Uint8Array {
  return concatBytes(OBJECT_PREFIX, hash);
}

function tombstoneKey(hash: Uint8Array): Uint8Array {
  return concatBytes(TOMBSTONE_PREFIX, hash);
}
