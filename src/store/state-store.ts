/**
 * Durable keys and values of one coordinator, on lmdb.
 *
 * Commits that are asked for while one transaction is on its way to the disk share the next one.
 * Each compares and writes inside it, in the order of the calls, and all are answered when the
 * disk has flushed it.
 *
 * Leases are this process's: those of an earlier one have ended, and their entries go at the start.
 */

import { randomBytes } from 'node:crypto';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { equalBytes, utf8 } from '../base/bytes.ts';
import { GramlineError } from '../base/errors.ts';
import { KIB, MIB, type Micros, micros } from '../base/units.ts';
import type {
  ChangeListener,
  CommitResult,
  Comparison,
  StateChange,
  StateLease,
  StateOperation,
  StateStore,
} from '../nodes/ports.ts';
import { CLUSTER_ID_BYTES } from '../wire/constants.ts';
import { ChangeFeed } from './change-feed.ts';
import { type DirectoryLock, lockDirectory } from './directory-lock.ts';
import { checkLmdbFile, commitFailure } from './lmdb-file.ts';
import { newerFormat, olderFormat, otherCluster, STATE_FILE, STATE_FORMAT } from './state-format.ts';
import { StateLeases } from './state-leases.ts';
import {
  COMMITS_QUEUED_MAX,
  checkCommit,
  checkRange,
  STATE_KEY_BYTES_MAX,
  stateBusy,
  stateClosed,
} from './state-limits.ts';
import { isOwnBug, storeError } from './store-errors.ts';

/**
 * Most comparisons and operations of one transaction, if it is not one commit: evaluating them holds
 * up the event loop, for one or two milliseconds.
 */
const PARTS_PER_TRANSACTION_MAX = 512;

/** Free disk below which commits are refused, so that lmdb never meets a full disk midway. */
export const STATE_FREE_BYTES_MIN = 4 * MIB;

/** The disk is asked for its free bytes when so many bytes were committed since, or so long ago. */
const FREE_CHECK_BYTES = 512 * KIB;
const FREE_CHECK_MILLIS = 1000;

/** A lease that ends later than this is looked at again by then: longer timers overflow. */
const LEASE_LOOK_MILLIS_MAX = 3_600_000;

const FILE_NAME = STATE_FILE;
const FORMAT_KEY = utf8('format');
const CLUSTER_ID_KEY = utf8('cluster-id');
const REVISION_KEY = utf8('revision');

export interface StateStoreOptions {
  /** Where the state stands; made if it is missing. One process at a time may use it. */
  readonly directory: string;
  /** Which cluster this is: 16 bytes. Without it, a new store makes one up and an old one knows. */
  readonly clusterId?: Uint8Array | undefined;
  /** `count` unpredictable bytes, for the cluster id; the default is `node:crypto`. */
  readonly entropy?: ((count: number) => Uint8Array) | undefined;
  /** @internal Free bytes of the disk, for tests. */
  readonly freeBytes?: () => Promise<number>;
}

/**
 * Opens the state in `directory`, for this process alone.
 *
 * @throws GramlineError `GRAMLINE_IN_USE` when a living process holds the directory,
 *   `GRAMLINE_INVALID` when a newer Gramline wrote it or it belongs to another cluster,
 *   `GRAMLINE_CORRUPT` when it is unreadable, `GRAMLINE_IO` or `GRAMLINE_NO_SPACE` when the disk refuses.
 */
export async function openStateStore(options: StateStoreOptions): Promise<StateStore> {
  const { clusterId } = options;
  if (clusterId !== undefined && clusterId.length !== CLUSTER_ID_BYTES)
    throw new GramlineError('GRAMLINE_INVALID', `A cluster id has ${CLUSTER_ID_BYTES} bytes.`);
  const lock = await lockDirectory(options.directory);
  let root: RootDatabase<Buffer, Uint8Array> | undefined;
  try {
    const path = join(options.directory, FILE_NAME);
    await checkLmdbFile(path);
    root = open<Buffer, Uint8Array>({
      path,
      noSubdir: true,
      // Answer behind the flush, not before it.
      overlappingSync: false,
      // Batches are made here. Those of lmdb leave a rejected promise that nobody can catch when
      // the disk is full, which ends the process.
      eventTurnBatching: false,
      encoding: 'binary',
      keyEncoding: 'binary',
    });
    const store = new LmdbStateStore(options, root, lock);
    await store.load();
    return store;
  } catch (error) {
    await root?.close().catch(() => {});
    await lock.release();
    throw storeError(error, `open the state in ${options.directory}`);
  }
}

interface QueuedCommit {
  readonly compare: readonly Comparison[];
  readonly operations: readonly StateOperation[];
  readonly bytes: number;
  readonly resolve: (result: CommitResult) => void;
  readonly reject: (error: unknown) => void;
  /** The lease that ends with this commit: its entries go. */
  readonly ended?: string;
}

type Table = Database<Buffer, Uint8Array>;

class LmdbStateStore implements StateStore {
  readonly #options: StateStoreOptions;
  readonly #root: RootDatabase<Buffer, Uint8Array>;
  readonly #lock: DirectoryLock;
  /** Format, cluster id and revision: apart from the entries, so that every key is free for those. */
  readonly #meta: Table;
  readonly #entries: Table;
  /** Which lease keeps which entry, for those that a lease keeps. */
  readonly #leased: Table;
  readonly #leases = new StateLeases();
  /** Keys that were ever put under a lease: few, so that others need no look. */
  readonly #mayBeLeased = new Set<string>();
  #leaseTimer: NodeJS.Timeout | undefined;
  #feed = new ChangeFeed(0);
  readonly isShared = false;
  readonly isCurrent = true;
  #clusterId = new Uint8Array();
  #revision = 0;
  /** At most COMMITS_QUEUED_MAX. */
  readonly #queue: QueuedCommit[] = [];
  #running: Promise<void> | undefined;
  #closed: Promise<void> | undefined;
  #freeCheckAt = Number.NEGATIVE_INFINITY;
  #uncheckedBytes = 0;

  constructor(options: StateStoreOptions, root: RootDatabase<Buffer, Uint8Array>, lock: DirectoryLock) {
    this.#options = options;
    this.#root = root;
    this.#lock = lock;
    this.#meta = root.openDB('meta', { encoding: 'binary', keyEncoding: 'binary' });
    this.#entries = root.openDB('entries', { encoding: 'binary', keyEncoding: 'binary' });
    this.#leased = root.openDB('leased', { encoding: 'binary', keyEncoding: 'binary' });
  }

  /** Reads the format, the cluster id and the revision; writes them at the first start. */
  async load(): Promise<void> {
    const format = this.#meta.get(FORMAT_KEY);
    if (format === undefined) {
      const entropy = this.#options.entropy ?? randomBytes;
      const clusterId = this.#options.clusterId ?? entropy(CLUSTER_ID_BYTES);
      await this.#transact(() => {
        this.#meta.putSync(FORMAT_KEY, encodeNumber(STATE_FORMAT));
        this.#meta.putSync(CLUSTER_ID_KEY, Buffer.from(clusterId));
        this.#meta.putSync(REVISION_KEY, encodeNumber(0));
      });
    } else {
      this.#requireFormat(decodeNumber(format));
    }
    const clusterId = this.#meta.get(CLUSTER_ID_KEY);
    const revision = decodeNumber(this.#meta.get(REVISION_KEY));
    if (clusterId?.length !== CLUSTER_ID_BYTES || revision === undefined) throw this.#unreadable();
    this.#clusterId = new Uint8Array(clusterId);
    this.#revision = revision;
    const wanted = this.#options.clusterId;
    if (wanted !== undefined && !equalBytes(wanted, this.#clusterId))
      throw otherCluster(this.#options.directory, this.#clusterId, wanted);
    await this.#endOldLeases();
    this.#feed = new ChangeFeed(this.#revision);
  }

  /** Removes what leases of an earlier process kept. */
  async #endOldLeases(): Promise<void> {
    const keys = [...this.#leased.getKeys()].map((key) => new Uint8Array(key));
    if (keys.length === 0) return;
    const revision = this.#revision + 1;
    await this.#transact(() => {
      for (const key of keys) {
        this.#entries.removeSync(key);
        this.#leased.removeSync(key);
      }
      this.#meta.putSync(REVISION_KEY, encodeNumber(revision));
    });
    this.#revision = revision;
  }

  get clusterId(): Uint8Array {
    return this.#clusterId.slice();
  }

  get revision(): number {
    return this.#revision;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    if (this.#closed !== undefined) throw stateClosed();
    if (key.length === 0 || key.length > STATE_KEY_BYTES_MAX) return undefined;
    const value = this.#entries.get(key);
    return value === undefined ? undefined : new Uint8Array(value);
  }

  range(start: Uint8Array, end: Uint8Array, limit: number): Iterable<readonly [Uint8Array, Uint8Array]> {
    if (this.#closed !== undefined) throw stateClosed();
    checkRange(start, end);
    if (end.length === 0 || limit <= 0 || Buffer.compare(start, end) >= 0) return [];
    // Copied at once: an iterator that somebody forgets would keep lmdb from reusing its pages.
    const found: [Uint8Array, Uint8Array][] = [];
    const entries = this.#entries.getRange({ end, limit, ...(start.length > 0 ? { start } : {}) });
    for (const { key, value } of entries) found.push([new Uint8Array(key), new Uint8Array(value)]);
    return found;
  }

  async commit(compare: readonly Comparison[], operations: readonly StateOperation[]): Promise<CommitResult> {
    if (this.#closed !== undefined) throw stateClosed();
    const bytes = checkCommit(compare, operations);
    if (this.#queue.length >= COMMITS_QUEUED_MAX) throw stateBusy();
    for (const { lease } of operations) if (lease !== undefined) this.#leases.require(lease);
    const result = new Promise<CommitResult>((resolve, reject) => {
      this.#queue.push({
        // Copied, since the caller may reuse its arrays before the transaction reads them.
        compare: compare.map(({ key, equals }) => ({ key: key.slice(), equals: equals?.slice() })),
        operations: operations.map(({ key, value, lease }) => ({
          key: key.slice(),
          value: value?.slice(),
          lease,
        })),
        bytes,
        resolve,
        reject,
      });
    });
    this.#running ??= this.#drain();
    return result;
  }

  async lease(ttlMicros: Micros): Promise<StateLease> {
    if (this.#closed !== undefined) throw stateClosed();
    const lease = this.#leases.grant(nowMicros(), ttlMicros);
    this.#watchLeases();
    return lease;
  }

  async keepAlive(lease: StateLease): Promise<boolean> {
    if (this.#closed !== undefined) throw stateClosed();
    return this.#leases.keepAlive(nowMicros(), lease);
  }

  watch(from: number, listener: ChangeListener): () => void {
    if (this.#closed !== undefined) throw stateClosed();
    return this.#feed.watch(from, listener);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** Sees to it that leases end when their time is over. */
  #watchLeases(): void {
    clearTimeout(this.#leaseTimer);
    const { nextDeadline } = this.#leases;
    if (nextDeadline === undefined || this.#closed !== undefined) return;
    const waitMillis = Math.min(LEASE_LOOK_MILLIS_MAX, Math.max(1, (nextDeadline - nowMicros()) / 1_000));
    this.#leaseTimer = setTimeout(() => {
      for (const id of this.#leases.expire(nowMicros())) this.#endLease(id);
      this.#watchLeases();
    }, waitMillis);
    this.#leaseTimer.unref();
  }

  #endLease(ended: string): void {
    const done = (): void => undefined;
    // Where the disk fails the entries stay until the next start: nobody keeps them alive any more.
    this.#queue.push({ compare: [], operations: [], bytes: 0, resolve: done, reject: done, ended });
    this.#running ??= this.#drain();
  }

  #requireFormat(version: number | undefined): void {
    if (version === STATE_FORMAT) return;
    if (version === undefined || version < 1) throw this.#unreadable();
    const refusal = version > STATE_FORMAT ? newerFormat : olderFormat;
    throw refusal(this.#options.directory, version);
  }

  #unreadable(): GramlineError {
    return new GramlineError(
      'GRAMLINE_CORRUPT',
      `The state in ${this.#options.directory} is unreadable. Restore it from a backup.`,
    );
  }

  async #close(): Promise<void> {
    clearTimeout(this.#leaseTimer);
    await this.#running;
    await this.#root.close();
    await this.#lock.release();
  }

  /** Commits what is queued, batch by batch; never rejects. */
  async #drain(): Promise<void> {
    // Whatever else is asked for in this tick joins the first batch.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const batch = this.#queue.splice(0, this.#batchLength());
      try {
        await this.#requireFreeDisk(batch);
        const changes: StateChange[] = [];
        const results = await this.#transact(() => this.#evaluate(batch, changes));
        this.#revision = results.at(-1)!.revision;
        this.#feed.publish(changes);
        for (const [index, commit] of batch.entries()) commit.resolve(results[index]!);
      } catch (error) {
        const failure = await this.#failure(error);
        for (const commit of batch) commit.reject(failure);
      }
    }
    this.#running = undefined;
  }

  /** How many of the commits that wait share the next transaction. */
  #batchLength(): number {
    let parts = 0;
    let length = 0;
    for (const { compare, operations } of this.#queue) {
      parts += compare.length + operations.length;
      if (parts > PARTS_PER_TRANSACTION_MAX) break;
      length += 1;
    }
    return Math.max(1, length);
  }

  /** Runs inside a transaction, in one go; `changes` gets what is changed. */
  #evaluate(batch: readonly QueuedCommit[], changes: StateChange[]): CommitResult[] {
    let revision = this.#revision;
    const results: CommitResult[] = [];
    for (const { compare, operations, ended } of batch) {
      const ok = compare.every(({ key, equals }) => {
        const value = this.#entries.get(key);
        return value === undefined || equals === undefined ? value === equals : equalBytes(value, equals);
      });
      const wanted = ended === undefined ? operations : this.#removalsOf(ended);
      // The end of a lease that kept nothing is no change.
      if (ok && (ended === undefined || wanted.length > 0)) {
        revision++;
        for (const { key, value, lease } of wanted) {
          if (value === undefined) this.#entries.removeSync(key);
          else this.#entries.putSync(key, value as Buffer);
          if (lease !== undefined) {
            this.#mayBeLeased.add(nameOf(key));
            this.#leased.putSync(key, Buffer.from(lease.id));
          } else if (this.#mayBeLeased.has(nameOf(key))) this.#leased.removeSync(key);
          changes.push({ key, value, revision });
        }
      }
      results.push({ ok, revision });
    }
    if (revision !== this.#revision) this.#meta.putSync(REVISION_KEY, encodeNumber(revision));
    return results;
  }

  /** What goes when a lease has ended. */
  #removalsOf(lease: string): StateOperation[] {
    const removals: StateOperation[] = [];
    for (const { key, value } of this.#leased.getRange()) {
      if (value.toString() === lease) removals.push({ key: new Uint8Array(key), value: undefined });
    }
    return removals;
  }

  /** Runs `task` in a write transaction; resolves when it is flushed. A throw undoes all of it. */
  async #transact<T>(task: () => T): Promise<T> {
    try {
      return await this.#root.childTransaction(task);
    } catch (error) {
      throw await commitFailure(error);
    }
  }

  async #requireFreeDisk(batch: readonly QueuedCommit[]): Promise<void> {
    const batchBytes = batch.reduce((total, { bytes }) => total + bytes, 0);
    this.#uncheckedBytes += batchBytes;
    const now = performance.now();
    if (this.#uncheckedBytes < FREE_CHECK_BYTES && now - this.#freeCheckAt < FREE_CHECK_MILLIS) return;
    this.#uncheckedBytes = 0;
    const free = await this.#freeBytes();
    if (free < STATE_FREE_BYTES_MIN + batchBytes) throw this.#noSpace(free);
    this.#freeCheckAt = now;
  }

  /** `error` of a commit, for the caller. */
  async #failure(error: unknown): Promise<Error> {
    // The next commit looks at the disk first.
    this.#freeCheckAt = Number.NEGATIVE_INFINITY;
    if (!(error instanceof GramlineError) && !isOwnBug(error)) {
      // lmdb calls a write that the disk took in part an input/output error: see for ourselves.
      const free = await this.#freeBytes().catch(() => Number.POSITIVE_INFINITY);
      if (free < STATE_FREE_BYTES_MIN) return this.#noSpace(free, error);
    }
    return storeError(error, `commit to the state in ${this.#options.directory}`);
  }

  #freeBytes(): Promise<number> {
    return this.#options.freeBytes?.() ?? freeBytesOf(this.#options.directory);
  }

  #noSpace(free: number, cause?: unknown): GramlineError {
    return new GramlineError(
      'GRAMLINE_NO_SPACE',
      `The disk of ${this.#options.directory} has ${free} bytes left, too few to commit safely. Free space there.`,
      { cause },
    );
  }
}

function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString('latin1');
}

/** Monotonic time, for leases: those of this process. */
function nowMicros(): Micros {
  return micros(Math.round(performance.now() * 1_000));
}

async function freeBytesOf(directory: string): Promise<number> {
  const { bavail, bsize } = await statfs(directory);
  return bavail * bsize;
}

function encodeNumber(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

function decodeNumber(bytes: Buffer | undefined): number | undefined {
  return bytes?.length === 8 ? Number(bytes.readBigUInt64BE()) : undefined;
}
