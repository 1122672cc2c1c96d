/**
 * The catalog: which object is where. Every entry is a key of the state, which is the truth; how it is read
 * is `catalog-mirror.ts`. Only a leader changes it: `writer` is what commits under its epoch [LEAD-2].
 */

import { concatBytes, equalBytes, toHex } from '../base/bytes.ts';
import { GramlineError, isGramlineError } from '../base/errors.ts';
import { mark, marked } from '../base/marks.ts';
import { REPLICAS_MAX } from '../wire/index.ts';
import {
  type CatalogEntry,
  DONE_MAX,
  decodeEntry,
  decodeMillis,
  decodeTombstone,
  encodeEntry,
  encodeMillis,
  encodeTombstone,
  hasReplica,
  NO_TOKEN,
  type Tombstone,
  WANTED_UNKNOWN,
  wantedReplicas,
} from './catalog-entry.ts';
import { CatalogMirror } from './catalog-mirror.ts';
import type { Comparison, StateOperation, StateStore } from './ports.ts';
import {
  DROPPED_END,
  DROPPED_PREFIX,
  droppedKey,
  KEY_STEP,
  objectKey,
  TOMBSTONE_END,
  TOMBSTONE_PREFIX,
  tombstoneKey,
} from './state-keys.ts';
import type { StateWriter } from './state-writer.ts';

/** A commit that lost against another is tried again this often. */
export const COMMIT_TRIES_MAX = 16;
/** Removed objects are remembered this long, so that a node that was away does not bring them back. */
const TOMBSTONE_MILLIS = 30 * 24 * 3_600_000;
/** Changes under way or waiting for their turn; one more is refused as busy. */
export const CHANGES_MAX = 65_536;
/** Bytes of all objects together: what the totals and a STATUS reply can say. */
export const CATALOG_BYTES_MAX = 2 ** 48 - 1;
/** Tombstones that are looked at in one go, and forgotten by one commit. */
export const TOMBSTONE_PAGE_MAX = 64;

/** Whether a commit made the entry, had made it before, found one of another put, or changed nothing. */
export type CommitOutcome = 'created' | 'repeated' | 'added' | 'void';

/** Whether a removal took the object away, had done so before, or found none. */
export type RemovalOutcome = 'removed' | 'repeated' | 'unknown';

/** An object that nodes have stored. */
export interface NewReplicas {
  readonly hash: Uint8Array;
  readonly bytes: number;
  /** Ids of the nodes. */
  readonly replicas: readonly Uint8Array[];
  /** How many replicas the object is to have. */
  readonly wanted: number;
  readonly nowMillis: number;
  /** Of the put: it makes the object once at most, and never once it was dropped. */
  readonly token: Uint8Array;
}

/** What is to become of an entry. */
type EntryChange = (entry: CatalogEntry | undefined) => CatalogEntry | 'keep' | 'remove';

/** What goes with a change of an entry. */
interface ChangeOptions {
  /** What must hold, too. */
  readonly guard?: readonly Comparison[];
  /** Of a removal: its token, and the wall-clock time. */
  readonly removal?: { readonly token: Uint8Array; readonly nowMillis: number };
}

export class Catalog extends CatalogMirror {
  /** The last change under way of each object. */
  readonly #turns = new Map<string, Promise<void>>();
  #changesUnderWay = 0;
  /** Bytes of new objects whose commits are under way: the index does not know them yet. */
  #comingBytes = 0;
  readonly #writer: StateWriter;

  /**
   * @param seed 8 bytes of chance for the index.
   * @param writer What changes are committed by; default the state itself.
   */
  constructor(state: StateStore, seed?: Uint8Array, writer: StateWriter = state) {
    super(state, seed);
    this.#writer = writer;
  }

  /** Whether memory alone says that `nodeId` holds the object, and no change of it is under way. */
  holds(hash: Uint8Array, nodeId: Uint8Array): boolean {
    if (this.index.find(hash) !== 'here') return false;
    if (this.#turns.size > 0 && this.#turns.has(toHex(hash))) return false;
    return this.index.isReplica(this.numbers.of(nodeId));
  }

  /**
   * Creates the entry, or adds the replicas to it, up to the maximum. Durable when it resolves. The entry is written
   * even when it names them all: they were stored anew, which an inventory that began earlier does not know. Where
   * this put made the object before, nothing is written.
   *
   * @param isVoid Asked when this object's earlier changes are through: then nothing is changed.
   */
  async commit(
    { hash, bytes, replicas, wanted, nowMillis, token }: NewReplicas,
    isVoid: () => boolean = () => false,
  ): Promise<CommitOutcome> {
    let outcome: CommitOutcome = 'void';
    // [DEFS-29] Compared, too: it may be dropped while this is on its way.
    const guard = [{ key: droppedKey(token), equals: undefined }];
    await this.#update(hash, { guard }, (entry) => {
      const isRepeated = this.hasMade(hash, token);
      outcome = isRepeated ? 'repeated' : 'void';
      if (isRepeated || isVoid() || this.isDropped(token)) return 'keep';
      outcome = entry === undefined ? 'created' : marked('commit-added', 'added');
      return entry === undefined
        ? { ...newEntry(bytes, replicas, wanted, nowMillis), madeBy: token }
        : { ...entry, wanted: Math.max(entry.wanted, wanted), replicas: joined(entry, replicas) };
    });
    return outcome;
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
    return this.#update(hash, {}, (entry) => {
      if (!mayAdopt(entry === undefined && this.isRemoved(hash))) return 'keep';
      if (entry === undefined) return newEntry(bytes, [nodeId], WANTED_UNKNOWN, 0);
      const replicas = joined(entry, [nodeId]);
      return replicas.length === entry.replicas.length ? 'keep' : { ...entry, replicas };
    });
  }

  /**
   * A node holds bytes of which it does not know that they were committed: adds it where the object lacks
   * replicas. Whether it is one of them when this resolves [DEFS-10].
   *
   * @param token Of the put that stored them: once it was dropped they may be gone.
   * @param mayRescue Asked when this object's earlier changes are through.
   */
  async rescue(
    hash: Uint8Array,
    nodeId: Uint8Array,
    token: Uint8Array,
    mayRescue: () => boolean,
  ): Promise<boolean> {
    let isReplica = false;
    // [DEFS-29] Compared, too: it may be dropped while this is on its way.
    const guard = [{ key: droppedKey(token), equals: undefined }];
    const isAdded = await this.#update(hash, { guard }, (entry) => {
      isReplica = entry !== undefined && hasReplica(entry, nodeId);
      if (entry === undefined || isReplica || entry.replicas.length >= wantedReplicas(entry)) return 'keep';
      if (this.isDropped(token) || !mayRescue()) return 'keep';
      return { ...entry, replicas: joined(entry, [nodeId]) };
    });
    return isAdded || isReplica;
  }

  /** Calls `run` with what became of the object once its earlier changes are through. */
  async afterChanges(
    hash: Uint8Array,
    run: (isRemoved: boolean, entry: CatalogEntry | undefined) => void,
  ): Promise<void> {
    await this.#update(hash, {}, (entry) => {
      run(entry === undefined && this.isRemoved(hash), entry);
      return 'keep';
    });
  }

  /**
   * A node no longer holds this object. The entry stays, even without replicas: the loss is known. Whether
   * it did hold it.
   *
   * @param mayStrike Asked before the change is on its way to the disk, with the entry as it is then, again
   * where that has changed meanwhile.
   */
  async removeReplica(
    hash: Uint8Array,
    nodeId: Uint8Array,
    writtenUpTo: number = Number.MAX_SAFE_INTEGER,
    mayStrike: (entry: CatalogEntry) => boolean = () => true,
  ): Promise<boolean> {
    return this.#update(hash, {}, (entry) => {
      if (entry === undefined || entry.revision > writtenUpTo || !hasReplica(entry, nodeId)) return 'keep';
      if (!mayStrike(entry)) return 'keep';
      return { ...entry, replicas: entry.replicas.filter((replica) => !equalBytes(replica, nodeId)) };
    });
  }

  /**
   * Removes the object and remembers that it was removed, and by whom: a removal is carried out once at most [DEFS-30].
   *
   * @param onRemoving Called before the removal is on its way to the disk, with what is about to
   * be removed, again where that has changed meanwhile. What it throws, the removal rejects with.
   */
  async remove(
    hash: Uint8Array,
    removal: { readonly token: Uint8Array; readonly nowMillis: number },
    onRemoving: (entry: CatalogEntry) => void = () => {},
  ): Promise<RemovalOutcome> {
    let outcome: RemovalOutcome = 'unknown';
    await this.#update(hash, { removal }, (entry) => {
      const isRepeated = isAmong(removal.token, this.#tombstone(hash)?.done);
      outcome = isRepeated ? 'repeated' : 'unknown';
      if (entry === undefined || isRepeated) return 'keep';
      onRemoving(entry);
      outcome = 'removed';
      return 'remove';
    });
    return outcome;
  }

  /** Whether the put of this token made the object, which may have been removed since [DEFS-17]. */
  hasMade(hash: Uint8Array, token: Uint8Array): boolean {
    if (equalBytes(token, NO_TOKEN)) return false;
    const entry = this.lookup(hash);
    if (entry !== undefined && equalBytes(entry.madeBy, token)) return true;
    // Tokens of removals are among them, which no put has: both are drawn by chance.
    return isAmong(token, this.#tombstone(hash)?.done);
  }

  #tombstone(hash: Uint8Array): Tombstone | undefined {
    const value = this.state.get(tombstoneKey(hash));
    return value === undefined ? undefined : decodeTombstone(value);
  }

  /** Whether it was decided that the put of this token will never be committed [DEFS-29]. */
  isDropped(token: Uint8Array): boolean {
    return this.state.get(droppedKey(token)) !== undefined;
  }

  /** Decides that for good, across restarts: resolves when it is durable. */
  async drop(tokens: readonly Uint8Array[], nowMillis: number): Promise<void> {
    const value = encodeMillis(nowMillis);
    await this.#writer.commit(
      [],
      tokens.map((token) => ({ key: droppedKey(token), value })),
    );
  }

  /**
   * Forgets tombstones and dropped puts that are old enough, page by page.
   *
   * @param pause Awaited between pages, so that others have their turn; true ends the work.
   */
  async sweepTombstones(nowMillis: number, pause: () => Promise<boolean>): Promise<void> {
    await this.#sweep(TOMBSTONE_PREFIX, TOMBSTONE_END, nowMillis, pause);
    await this.#sweep(DROPPED_PREFIX, DROPPED_END, nowMillis, pause);
  }

  async #sweep(
    from: Uint8Array,
    end: Uint8Array,
    nowMillis: number,
    pause: () => Promise<boolean>,
  ): Promise<void> {
    for (let start = from; ; ) {
      const compare: Comparison[] = [];
      let seen = 0;
      for (const [key, value] of this.state.range(start, end, TOMBSTONE_PAGE_MAX)) {
        seen += 1;
        start = concatBytes(key, KEY_STEP);
        if (decodeMillis(value) + TOMBSTONE_MILLIS < nowMillis) compare.push({ key, equals: value });
      }
      // Compared, since an object may have been removed again meanwhile: then the next sweep looks.
      const operations = compare.map(({ key }) => ({ key, value: undefined }));
      if (operations.length > 0) await this.#writer.commit(compare, operations);
      if (seen < TOMBSTONE_PAGE_MAX || (await pause())) return;
    }
  }

  /** Changes of one object wait for each other: of two removals at once both would count in the totals. */
  #update(hash: Uint8Array, how: ChangeOptions, change: EntryChange): Promise<boolean> {
    if (this.#changesUnderWay >= CHANGES_MAX) return Promise.reject(catalogBusy());
    this.#changesUnderWay += 1;
    const name = toHex(hash);
    const earlier = this.#turns.get(name) ?? Promise.resolve();
    const turn = earlier.then(() => this.#change(hash, how, change));
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
  }

  async #change(
    hash: Uint8Array,
    { guard = [], removal }: ChangeOptions,
    change: EntryChange,
  ): Promise<boolean> {
    const key = objectKey(hash);
    for (let attempt = 0; attempt < COMMIT_TRIES_MAX; attempt++) {
      const before = this.state.get(key);
      const entry = before === undefined ? undefined : decodeEntry(before);
      const next = change(entry);
      if (next === 'keep') return false;
      const compare: Comparison[] = [{ key, equals: before }, ...guard];
      if (before === undefined) {
        // That there is no entry may be true again later, when this has long been given up: after a removal it is not
        // the same tombstone.
        const tombstone = tombstoneKey(hash);
        compare.push({ key: tombstone, equals: this.state.get(tombstone) });
      }
      const operations: StateOperation[] = [];
      let comingBytes = 0;
      if (next === 'remove') {
        operations.push({ key, value: undefined }, this.#buried(hash, entry!, removal!));
      } else {
        if (entry === undefined) {
          comingBytes = next.bytes;
          const totalBytes = this.totals.bytes + this.#comingBytes + comingBytes;
          if (totalBytes > CATALOG_BYTES_MAX) throw catalogFull();
        }
        operations.push({ key, value: encodeEntry({ ...next, revision: this.state.revision + 1 }) });
      }
      this.#comingBytes += comingBytes;
      try {
        // When it is answered the watch has told the index.
        const { ok } = await this.#writer.commit(compare, operations);
        if (ok) return true;
      } catch (error) {
        mark('catalog-commit-failed');
        // That no object fits is another matter than that the catalog's own disk is full.
        if (!isGramlineError(error, 'GRAMLINE_NO_SPACE')) throw error;
        throw new GramlineError('GRAMLINE_IO', 'the disk of the catalog is full', { cause: error });
      } finally {
        this.#comingBytes -= comingBytes;
      }
    }
    throw catalogOutrun();
  }

  /** The tombstone of an entry. Those of the object's earlier removals are known from the one before. */
  #buried(
    hash: Uint8Array,
    { madeBy }: CatalogEntry,
    { token, nowMillis }: { readonly token: Uint8Array; readonly nowMillis: number },
  ): StateOperation {
    const maker = equalBytes(madeBy, NO_TOKEN) ? [] : [madeBy];
    const done = [...(this.#tombstone(hash)?.done ?? []), ...maker, token].slice(-DONE_MAX);
    return { key: tombstoneKey(hash), value: encodeTombstone({ removedMillis: nowMillis, done }) };
  }
}

function isAmong(token: Uint8Array, tokens: readonly Uint8Array[] | undefined): boolean {
  return tokens?.some((other) => equalBytes(other, token)) ?? false;
}

function newEntry(
  bytes: number,
  replicas: readonly Uint8Array[],
  wanted: number,
  createdMillis: number,
): CatalogEntry {
  const kept = { requests: 0, expiresMillis: 0 };
  return { bytes, createdMillis, revision: 0, ...kept, wanted, madeBy: NO_TOKEN, replicas };
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

function catalogOutrun(): GramlineError {
  return new GramlineError('GRAMLINE_BUSY', 'other changes of this object came first: try again', {
    retryable: true,
  });
}

function catalogFull(): GramlineError {
  return new GramlineError(
    'GRAMLINE_NO_SPACE',
    `all objects together have more than ${CATALOG_BYTES_MAX} bytes: remove some`,
  );
}
