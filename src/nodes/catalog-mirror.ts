/**
 * What a coordinator knows of the catalog: the entries of the state, and an index of them in memory that
 * follows every change, whoever makes it, and answers where an object is without asking the state.
 *
 * All coordinators have one; the leader's (`catalog.ts`) changes the state, too.
 */

import { concatBytes } from '../base/bytes.ts';
import { REPLICAS_MAX } from '../wire/index.ts';
import { type CatalogEntry, decodeEntry, scanEntry } from './catalog-entry.ts';
import { allInStore, type HashFilter, type HeldObject, heldInMemory, heldInStore } from './catalog-held.ts';
import { CatalogIndex } from './catalog-index.ts';
import { Holdings } from './holdings.ts';
import { NodeNumbers } from './node-numbers.ts';
import type { StateChange, StateStore } from './ports.ts';
import { isBehind, KEY_STEP, OBJECT_END, OBJECT_PREFIX, objectKey, tombstoneKey } from './state-keys.ts';

/** Entries that are read into the index in one go: about a millisecond. */
export const LOAD_ENTRIES_MAX = 512;

/** What is known of an object, without a look at the state store. */
export interface PlacesInMemory {
  readonly bytes: number;
  /** How many of `replicas` count. */
  readonly count: number;
  /** Numbers of the nodes that hold it. */
  readonly replicas: Uint16Array;
}

/** How many objects there are, and their bytes together. */
export interface CatalogTotals {
  readonly objects: number;
  readonly bytes: number;
}

export class CatalogMirror {
  /** Numbers of the nodes that hold objects. */
  readonly numbers: NodeNumbers = new NodeNumbers();
  protected readonly state: StateStore;
  protected readonly index: CatalogIndex;
  /** Whether every object is in the index: otherwise one that it lacks may be in the store. */
  #isIndexed = false;
  /** Whether the index had room for all that it has met. */
  #hasRoom = true;
  readonly #replicas = new Uint16Array(REPLICAS_MAX);
  /** What the node of each number holds. */
  readonly #holdings: (Holdings | undefined)[] = [];
  readonly #stopWatching: () => void;

  /** @param seed 8 bytes of chance for the index. */
  constructor(state: StateStore, seed?: Uint8Array) {
    this.state = state;
    this.index = new CatalogIndex(seed);
    this.#stopWatching = state.watch(state.revision, (changes) => this.#onChanges(changes));
  }

  /** Follows the state no longer. */
  close(): void {
    this.#stopWatching();
  }

  /** Whether `find` needs the state store for no object that it can hold. */
  get isIndexed(): boolean {
    return this.#isIndexed;
  }

  /** What a node holds, in short; undefined while memory does not know all [DIG-2]. */
  holdingsOf(nodeId: Uint8Array): Holdings | undefined {
    const number = this.numbers.of(nodeId);
    return this.#isIndexed && number !== undefined ? this.#holdingsOf(number) : undefined;
  }

  /** Bytes of memory that the index takes. */
  get indexBytes(): number {
    return this.index.memoryBytes;
  }

  /**
   * Fills the index from the state store, page by page. Meanwhile `find` says 'elsewhere' of what it
   * has not met. An index that grows full stays as it is.
   *
   * @param pause Awaited between pages, so that others have their turn; true ends the work.
   */
  async load(pause: () => Promise<boolean>): Promise<void> {
    for (let start: Uint8Array = OBJECT_PREFIX; ; ) {
      let entries = 0;
      for (const [key, value] of this.state.range(start, OBJECT_END, LOAD_ENTRIES_MAX)) {
        entries += 1;
        start = key;
        this.#enter(key.subarray(1), value);
      }
      if (entries < LOAD_ENTRIES_MAX) break;
      // The least key behind the last.
      start = concatBytes(start, KEY_STEP);
      if (await pause()) return;
    }
    this.#isIndexed = this.#hasRoom;
  }

  /**
   * Looks for the object whose hash stands in `hash` at `at`, and never waits. 'here': `found` tells
   * of it until the next call. 'elsewhere': memory does not say, and `lookup` does.
   */
  find(hash: Uint8Array, at = 0): 'here' | 'elsewhere' | 'unknown' {
    const answer = this.index.find(hash, at);
    return answer === 'unknown' && !this.#isIndexed ? 'elsewhere' : answer;
  }

  get found(): PlacesInMemory {
    return this.index;
  }

  get revision(): number {
    return this.state.revision;
  }

  /** Whether what is known here may be old [LEAD-9]. */
  get isStale(): boolean {
    return !this.state.isCurrent;
  }

  /** What memory knows: everything, once the index is filled. */
  get totals(): CatalogTotals {
    return { objects: this.index.size, bytes: this.index.objectBytes };
  }

  /** The entry of an object, or undefined. Never waits. */
  lookup(hash: Uint8Array): CatalogEntry | undefined {
    const value = this.state.get(objectKey(hash));
    return value === undefined ? undefined : decodeEntry(value);
  }

  /** Whether this object was removed on purpose, and is not there again. */
  isRemoved(hash: Uint8Array): boolean {
    return this.state.get(tombstoneKey(hash)) !== undefined && this.state.get(objectKey(hash)) === undefined;
  }

  /**
   * All objects of which `nodeId` holds a replica, as the catalog has it, and that are asked about,
   * part by part. Entries that change meanwhile may be told as they were or as they are; all others
   * are told once.
   *
   * @param pause Awaited between parts, with the work that the next one is, so that others have their turn.
   */
  heldBy(
    nodeId: Uint8Array,
    pause: (entries: number) => Promise<void>,
    isAsked: HashFilter = () => true,
  ): AsyncIterable<HeldObject> {
    const number = this.numbers.of(nodeId);
    return this.#isIndexed && number !== undefined
      ? heldInMemory(this.state, this.index, { nodeId, number }, pause, isAsked)
      : heldInStore(this.state, nodeId, pause, isAsked);
  }

  /** All objects, page by page, as `heldBy` tells of those of one node. */
  all(pause: (entries: number) => Promise<void>): AsyncIterable<HeldObject> {
    return allInStore(this.state, pause);
  }

  #onChanges(changes: readonly StateChange[]): void {
    for (const { key, value } of changes) {
      if (!isBehind(key, OBJECT_PREFIX)) continue;
      const hash = key.subarray(1);
      if (value !== undefined) this.#enter(hash, value);
      else {
        this.#toggleHoldings(hash);
        this.index.delete(hash);
      }
    }
  }

  /** The nodes that hold an object, as the index has it, hold it from now on, or no longer. */
  #toggleHoldings(hash: Uint8Array): void {
    if (this.index.find(hash) !== 'here') return;
    const { replicas, count } = this.index;
    for (let index = 0; index < count; index++) this.#holdingsOf(replicas[index]!).toggle(hash);
  }

  #holdingsOf(number: number): Holdings {
    const known = this.#holdings[number];
    if (known !== undefined) return known;
    while (this.#holdings.length < number) this.#holdings.push(undefined);
    const holdings = new Holdings();
    this.#holdings[number] = holdings;
    return holdings;
  }

  /** Puts an entry into the index, as far as that has room. */
  #enter(hash: Uint8Array, value: Uint8Array): void {
    let count = 0;
    let isHere = true;
    const bytes = scanEntry(value, (at) => {
      const number = this.numbers.of(value, at);
      if (number === undefined || count === REPLICAS_MAX) isHere = false;
      else this.#replicas[count++] = number;
    });
    this.#toggleHoldings(hash);
    const isEntered = this.index.put(hash, bytes, isHere ? this.#replicas : undefined, count);
    this.#toggleHoldings(hash);
    if (isEntered && isHere) return;
    this.#hasRoom = false;
    this.#isIndexed = false;
  }
}
