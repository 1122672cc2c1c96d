/**
 * A state store in memory, for the simulator: the same port and the same refusals as the one on
 * lmdb, with faults that a test asks for. Commits that are asked for while others are on their way
 * to the disk share the next batch, as there; without a disk's delay that takes no time.
 */

import { equalBytes } from '../src/base/bytes.ts';
import { GramlineError } from '../src/base/errors.ts';
import type { CommitResult, Comparison, StateOperation } from '../src/nodes/ports.ts';
import {
  COMMITS_QUEUED_MAX,
  checkCommit,
  checkRange,
  stateBusy,
  stateClosed,
} from '../src/store/state-limits.ts';
import type { ClusterStateStore } from '../src/store/state-store.ts';
import type { SimDisk } from './disk.ts';

export interface MemoryStateStoreOptions {
  /** 16 bytes. */
  readonly clusterId: Uint8Array;
  /** What takes time, once before a batch of commits can be read and once before they are answered; default none. */
  readonly disk?: SimDisk;
}

interface QueuedCommit {
  readonly compare: readonly { readonly key: string; readonly equals: Uint8Array | undefined }[];
  readonly changes: readonly { readonly key: string; readonly value: Uint8Array | undefined }[];
  readonly resolve: (result: CommitResult) => void;
  readonly reject: (error: unknown) => void;
}

/** What outlasts a crash. Keys are strings of one character a byte: they sort like the bytes. */
interface MemoryState {
  revision: number;
  readonly values: Map<string, Uint8Array>;
  readonly sortedKeys: string[];
  isFull: boolean;
}

export class MemoryStateStore implements ClusterStateStore {
  readonly #options: MemoryStateStoreOptions;
  readonly #state: MemoryState;
  #queue: QueuedCommit[] = [];
  #running: Promise<void> | undefined;
  #status: 'open' | 'closed' | 'crashed' = 'open';

  constructor(
    options: MemoryStateStoreOptions,
    state: MemoryState = { revision: 0, values: new Map(), sortedKeys: [], isFull: false },
  ) {
    this.#options = options;
    this.#state = state;
  }

  /**
   * Ends the store: commits that were not answered reject. `process` is `kill -9`, which keeps what was
   * applied; at `machine` the power fails, and a batch that was not flushed is lost. Whether one was.
   */
  crash(kind: 'machine' | 'process' = 'process'): boolean {
    this.#status = 'crashed';
    const cache = this.#options.disk?.cache;
    if (kind === 'machine') return cache !== undefined && cache.lose() > 0;
    cache?.keep();
    return false;
  }

  /** Makes the disk full, or gives it room again. */
  fail(full: boolean): void {
    this.#state.isFull = full;
  }

  /** The next start on the same state, after `crash` or `close`. */
  reopen(): MemoryStateStore {
    if (this.#status === 'open') {
      throw new GramlineError('GRAMLINE_IN_USE', 'The memory store is open: close it, or let it crash.');
    }
    return new MemoryStateStore(this.#options, this.#state);
  }

  get clusterId(): Uint8Array {
    return this.#options.clusterId.slice();
  }

  get revision(): number {
    return this.#state.revision;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    this.#requireOpen();
    return this.#state.values.get(textOf(key))?.slice();
  }

  range(start: Uint8Array, end: Uint8Array, limit: number): Iterable<readonly [Uint8Array, Uint8Array]> {
    this.#requireOpen();
    checkRange(start, end);
    const { sortedKeys, values } = this.#state;
    const endText = textOf(end);
    const found: [Uint8Array, Uint8Array][] = [];
    for (let index = placeOf(sortedKeys, textOf(start)); index < sortedKeys.length; index++) {
      const key = sortedKeys[index]!;
      if (key >= endText || found.length >= limit) break;
      found.push([bytesOf(key), values.get(key)!.slice()]);
    }
    return found;
  }

  async commit(compare: readonly Comparison[], operations: readonly StateOperation[]): Promise<CommitResult> {
    this.#requireOpen();
    checkCommit(compare, operations);
    if (this.#queue.length >= COMMITS_QUEUED_MAX) throw stateBusy();
    const compared = compare.map(({ key, equals }) => ({ key: textOf(key), equals: equals?.slice() }));
    const changes = operations.map(({ key, value }) => ({ key: textOf(key), value: value?.slice() }));
    const result = new Promise<CommitResult>((resolve, reject) => {
      this.#queue.push({ compare: compared, changes, resolve, reject });
    });
    this.#running ??= this.#drain();
    return result;
  }

  async close(): Promise<void> {
    if (this.#status !== 'open') return;
    this.#status = 'closed';
    await this.#running;
  }

  /** Applies and answers what is queued, batch by batch; never rejects. */
  async #drain(): Promise<void> {
    // Applied in a later turn, so that a crash in this one loses it.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      await this.#options.disk?.step('write');
      const batch = this.#queue;
      this.#queue = [];
      const undos: (() => void)[] = [];
      const answers = batch.map((commit) => this.#outcome(commit, undos));
      const step = this.#options.disk?.step('sync');
      if (step !== undefined) await this.#flushed(step, undos);
      for (const answer of answers) answer();
    }
    this.#running = undefined;
  }

  /** Resolves when a batch is on the disk; a power failure before that takes all of it back. */
  async #flushed(step: Promise<void>, undos: readonly (() => void)[]): Promise<void> {
    const done = this.#options.disk!.cache.add(() => {
      for (const undo of [...undos].reverse()) undo();
    });
    await step;
    done();
  }

  /** Applies a commit; what is returned answers it. */
  #outcome({ compare, changes, resolve, reject }: QueuedCommit, undos: (() => void)[]): () => void {
    try {
      if (this.#status === 'crashed') throw stateClosed();
      const result = this.#apply(compare, changes, undos);
      return () => (this.#status === 'crashed' ? reject(stateClosed()) : resolve(result));
    } catch (error) {
      return () => reject(error);
    }
  }

  #apply(
    compare: QueuedCommit['compare'],
    changes: QueuedCommit['changes'],
    undos: (() => void)[],
  ): CommitResult {
    if (this.#state.isFull)
      throw new GramlineError(
        'GRAMLINE_NO_SPACE',
        'The simulated disk is full. Call fail(false) to give it room.',
      );
    const ok = compare.every(({ key, equals }) => {
      const value = this.#state.values.get(key);
      return value === undefined || equals === undefined ? value === equals : equalBytes(value, equals);
    });
    if (ok) {
      const { values, revision } = this.#state;
      for (const { key, value } of changes) {
        const earlier = values.get(key);
        undos.push(() => this.#change(key, earlier));
        this.#change(key, value);
      }
      undos.push(() => {
        this.#state.revision = revision;
      });
      this.#state.revision++;
    }
    return { ok, revision: this.#state.revision };
  }

  #change(key: string, value: Uint8Array | undefined): void {
    const { values, sortedKeys } = this.#state;
    const isThere = values.has(key);
    if (value === undefined) {
      if (isThere) sortedKeys.splice(placeOf(sortedKeys, key), 1);
      values.delete(key);
      return;
    }
    if (!isThere) sortedKeys.splice(placeOf(sortedKeys, key), 0, key);
    values.set(key, value);
  }

  #requireOpen(): void {
    if (this.#status !== 'open') throw stateClosed();
  }
}

/** Index of the first of `sorted` that is not less than `key`. */
function placeOf(sorted: readonly string[], key: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < key) low = middle + 1;
    else high = middle;
  }
  return low;
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}
