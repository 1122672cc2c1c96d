/**
 * A state store in memory, for the simulator: the same port and the same refusals as the one on
 * lmdb, with faults that a test asks for. Commits that are asked for while others are on their way
 * to the disk share the next batch, as there; without a disk's delay that takes no time.
 */

import { equalBytes } from '../src/base/bytes.ts';
import { GramlineError } from '../src/base/errors.ts';
import { type Micros, micros } from '../src/base/units.ts';
import type {
  ChangeListener,
  Clock,
  CommitResult,
  Comparison,
  StateChange,
  StateLease,
  StateOperation,
  StateStore,
} from '../src/nodes/ports.ts';
import { ChangeFeed } from '../src/store/change-feed.ts';
import { StateLeases } from '../src/store/state-leases.ts';
import { COMMITS_QUEUED_MAX, checkCommit, stateBusy, stateClosed } from '../src/store/state-limits.ts';
import type { SimDisk } from './disk.ts';
import { bytesOf, MemoryTable, textOf } from './memory-table.ts';

export interface MemoryStateStoreOptions {
  /** 16 bytes. */
  readonly clusterId: Uint8Array;
  /** What takes time, once before a batch of commits can be read and once before they are answered; default none. */
  readonly disk?: SimDisk;
  /** By which leases end; without one they end with the store only. */
  readonly clock?: Pick<Clock, 'now' | 'setTimer'>;
}

interface QueuedCommit {
  readonly compare: readonly { readonly key: string; readonly equals: Uint8Array | undefined }[];
  readonly changes: readonly MemoryChange[];
  /** The lease that ends with this commit: its entries go. */
  readonly ended?: string;
  readonly resolve: (result: CommitResult) => void;
  readonly reject: (error: unknown) => void;
}

interface MemoryChange {
  readonly key: string;
  readonly value: Uint8Array | undefined;
  readonly lease?: string | undefined;
}

/** What outlasts a crash. */
interface MemoryState {
  revision: number;
  readonly table: MemoryTable;
  /** Which lease keeps which entry, by key. */
  readonly leased: Map<string, string>;
  isFull: boolean;
}

export class MemoryStateStore implements StateStore {
  readonly isShared = false;
  readonly isCurrent = true;
  readonly #options: MemoryStateStoreOptions;
  readonly #state: MemoryState;
  readonly #feed: ChangeFeed;
  readonly #leases = new StateLeases();
  #queue: QueuedCommit[] = [];
  #running: Promise<void> | undefined;
  #status: 'open' | 'closed' | 'crashed' = 'open';

  constructor(
    options: MemoryStateStoreOptions,
    state: MemoryState = { revision: 0, table: new MemoryTable(), leased: new Map(), isFull: false },
  ) {
    this.#options = options;
    this.#state = state;
    // Leases are the process's: those of the last one have ended.
    if (state.leased.size > 0) {
      for (const key of state.leased.keys()) state.table.set(key, undefined);
      state.leased.clear();
      state.revision += 1;
    }
    this.#feed = new ChangeFeed(state.revision);
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
    return this.#state.table.get(key);
  }

  range(start: Uint8Array, end: Uint8Array, limit: number): Iterable<readonly [Uint8Array, Uint8Array]> {
    this.#requireOpen();
    return this.#state.table.range(start, end, limit);
  }

  async commit(compare: readonly Comparison[], operations: readonly StateOperation[]): Promise<CommitResult> {
    this.#requireOpen();
    checkCommit(compare, operations);
    if (this.#queue.length >= COMMITS_QUEUED_MAX) throw stateBusy();
    for (const { lease } of operations) if (lease !== undefined) this.#leases.require(lease);
    const compared = compare.map(({ key, equals }) => ({ key: textOf(key), equals: equals?.slice() }));
    const changes = operations.map(({ key, value, lease }) => {
      return { key: textOf(key), value: value?.slice(), lease: lease?.id };
    });
    const result = new Promise<CommitResult>((resolve, reject) => {
      this.#queue.push({ compare: compared, changes, resolve, reject });
    });
    this.#running ??= this.#drain();
    return result;
  }

  async lease(ttlMicros: Micros): Promise<StateLease> {
    this.#requireOpen();
    const lease = this.#leases.grant(this.#now(), ttlMicros);
    this.#watchLeases();
    return lease;
  }

  async keepAlive(lease: StateLease): Promise<boolean> {
    this.#requireOpen();
    return this.#leases.keepAlive(this.#now(), lease);
  }

  watch(from: number, listener: ChangeListener): () => void {
    this.#requireOpen();
    return this.#feed.watch(from, listener);
  }

  async close(): Promise<void> {
    if (this.#status !== 'open') return;
    this.#status = 'closed';
    await this.#running;
  }

  #now(): Micros {
    return this.#options.clock?.now() ?? micros(0);
  }

  #watchLeases(): void {
    const { nextDeadline } = this.#leases;
    if (nextDeadline === undefined || this.#options.clock === undefined) return;
    this.#options.clock.setTimer(nextDeadline, () => {
      if (this.#status !== 'open') return;
      for (const ended of this.#leases.expire(this.#now())) {
        const done = (): void => undefined;
        this.#queue.push({ compare: [], changes: [], ended, resolve: done, reject: done });
        this.#running ??= this.#drain();
      }
      this.#watchLeases();
    });
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
      const news: StateChange[] = [];
      const answers = batch.map((commit) => this.#outcome(commit, undos, news));
      const step = this.#options.disk?.step('sync');
      if (step !== undefined) await this.#flushed(step, undos);
      if (this.#status !== 'crashed') this.#feed.publish(news);
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
  #outcome(commit: QueuedCommit, undos: (() => void)[], news: StateChange[]): () => void {
    const { resolve, reject } = commit;
    try {
      if (this.#status === 'crashed') throw stateClosed();
      const result = this.#apply(commit, undos, news);
      return () => (this.#status === 'crashed' ? reject(stateClosed()) : resolve(result));
    } catch (error) {
      return () => reject(error);
    }
  }

  #apply(
    { compare, changes, ended }: QueuedCommit,
    undos: (() => void)[],
    news: StateChange[],
  ): CommitResult {
    const state = this.#state;
    if (state.isFull)
      throw new GramlineError(
        'GRAMLINE_NO_SPACE',
        'The simulated disk is full. Call fail(false) to give it room.',
      );
    const ok = compare.every(({ key, equals }) => {
      const value = state.table.peek(key);
      return value === undefined || equals === undefined ? value === equals : equalBytes(value, equals);
    });
    const wanted = ended === undefined ? changes : this.#removalsOf(ended);
    if (ok && (ended === undefined || wanted.length > 0)) {
      const { revision } = state;
      undos.push(() => {
        state.revision = revision;
      });
      state.revision++;
      for (const { key, value, lease } of wanted) {
        const earlier = state.table.peek(key);
        const earlierLease = state.leased.get(key);
        undos.push(() => {
          state.table.set(key, earlier);
          this.#setLease(key, earlierLease);
        });
        state.table.set(key, value);
        this.#setLease(key, lease);
        news.push({ key: bytesOf(key), value, revision: state.revision });
      }
    }
    return { ok, revision: state.revision };
  }

  #removalsOf(lease: string): MemoryChange[] {
    const kept = [...this.#state.leased].filter(([, id]) => id === lease);
    return kept.map(([key]) => ({ key, value: undefined }));
  }

  #setLease(key: string, lease: string | undefined): void {
    if (lease === undefined) this.#state.leased.delete(key);
    else this.#state.leased.set(key, lease);
  }

  #requireOpen(): void {
    if (this.#status !== 'open') throw stateClosed();
  }
}
