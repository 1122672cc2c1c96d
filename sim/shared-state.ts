/**
 * The model of a state engine that several coordinators share, such as etcd: commits that compare, leases that
 * end by themselves, watching. Each coordinator reaches it over a link of its own, which can be cut; the
 * engine as a whole can be out of service for a while, as when it elects. What it has committed it keeps.
 *
 * A commit whose request or answer is lost fails, and may have taken effect, or may yet. What a coordinator reads is its
 * mirror, which follows the engine later, in order.
 */

import { equalBytes } from '../src/base/bytes.ts';
import { GramlineError } from '../src/base/errors.ts';
import { type Micros, micros } from '../src/base/units.ts';
import type {
  ChangeListener,
  CommitResult,
  Comparison,
  StateChange,
  StateLease,
  StateOperation,
  StateStore,
} from '../src/nodes/ports.ts';
import { ChangeFeed } from '../src/store/change-feed.ts';
import { leaseEnded, StateLeases } from '../src/store/state-leases.ts';
import { checkCommit, stateClosed } from '../src/store/state-limits.ts';
import { bytesOf, MemoryTable, textOf } from './memory-table.ts';
import type { SeenChange } from './once-checker.ts';
import type { Random } from './random.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** One way between a coordinator and the engine, and now and then much longer. */
const TRANSIT_MICROS_MAX = 1_500;
const LATE_TRANSIT_MICROS_MAX = 60_000;
const LATE_CHANCE = 0.02;
/** How long a coordinator waits for an answer. */
const REQUEST_MICROS = 2_000_000;
/** Of the requests that were lost so many arrive long after anybody waits for an answer, in any order. */
const STRAY_CHANCE = 0.3;
const STRAY_MICROS_MAX = 20_000_000;
/** The engine looks for leases that have ended within this. */
const EXPIRY_LOOK_MICROS_MAX = 500_000;
/** A mirror that has heard nothing for so long is not sure that it has seen all. */
const STALE_MICROS = 1_000_000;

/** The part of a machine that a store runs on. */
export interface StoreProcess {
  now(): Micros;
  /** Resolves that much later, as the machine sees it; never once it is dead. */
  wait(spanMicros: number): Promise<void>;
}

interface LoggedChange {
  readonly key: string;
  readonly value: Uint8Array | undefined;
  readonly revision: number;
}

export class SharedStateEngine {
  readonly clusterId: Uint8Array;
  readonly clock: VirtualClock;
  readonly table = new MemoryTable();
  /** Told of each change before it is made: for judging. */
  onChange: (change: SeenChange) => void = () => undefined;
  #isDown = false;
  readonly #random: Random;
  readonly #leases = new StateLeases();
  readonly #leased = new Map<string, string>();
  /** All that has changed since the beginning. */
  readonly log: LoggedChange[] = [];
  readonly #watchers = new Set<() => void>();
  #revision = 1;
  #lookAt: number | undefined;

  constructor(clusterId: Uint8Array, clock: VirtualClock, random: Random) {
    this.clusterId = clusterId;
    this.clock = clock;
    this.#random = random;
  }

  get revision(): number {
    return this.#revision;
  }

  /** Whether nobody is answered. */
  get isDown(): boolean {
    return this.#isDown;
  }

  /** Takes the engine out of service, or brings it back: then it gives all leases time anew, as one that has elected. */
  setDown(isDown: boolean): void {
    if (this.#isDown && !isDown) this.#leases.renewAll(this.clock.now());
    this.#isDown = isDown;
    if (!isDown) this.#lookLater();
  }

  /** A store of one start of one coordinator. */
  open(process: StoreProcess, link: StateLink): SharedStateStore {
    return new SharedStateStore(this, process, link, this.#random.fork(`store ${link.starts++}`));
  }

  /** What the engine holds, as a store that is always current: for judging. */
  get truth(): Pick<StateStore, 'get' | 'range' | 'revision'> {
    return {
      revision: this.#revision,
      get: (key) => this.table.get(key),
      range: (start, end, limit) => this.table.range(start, end, limit),
    };
  }

  watch(tell: () => void): () => void {
    this.#watchers.add(tell);
    return () => {
      this.#watchers.delete(tell);
    };
  }

  commit(compare: readonly Comparison[], operations: readonly StateOperation[]): CommitResult {
    for (const { lease } of operations) if (lease !== undefined) this.#leases.require(lease);
    const ok = compare.every(({ key, equals }) => {
      const value = this.table.peek(textOf(key));
      return value === undefined || equals === undefined ? value === equals : equalBytes(value, equals);
    });
    if (ok && operations.length > 0) this.#apply(operations);
    return { ok, revision: this.#revision };
  }

  lease(ttlMicros: Micros): StateLease {
    const lease = this.#leases.grant(this.clock.now(), ttlMicros);
    this.#lookLater();
    return lease;
  }

  keepAlive(lease: StateLease): boolean {
    return this.#leases.keepAlive(this.clock.now(), lease);
  }

  #apply(operations: readonly StateOperation[]): void {
    this.#revision += 1;
    for (const { key, value, lease } of operations) {
      const name = textOf(key);
      this.onChange({ key, before: this.table.peek(name), value });
      this.table.set(name, value?.slice());
      if (lease === undefined) this.#leased.delete(name);
      else this.#leased.set(name, lease.id);
      this.log.push({ key: name, value: value?.slice(), revision: this.#revision });
    }
    for (const tell of [...this.#watchers]) tell();
  }

  #lookLater(): void {
    const { nextDeadline } = this.#leases;
    if (nextDeadline === undefined || this.#lookAt !== undefined || this.#isDown) return;
    this.#lookAt = nextDeadline + this.#random.integer(EXPIRY_LOOK_MICROS_MAX);
    this.clock.schedule(Math.max(0, this.#lookAt - this.clock.now()), () => {
      this.#lookAt = undefined;
      // An engine that is out of service ends no lease.
      if (this.#isDown) return;
      for (const ended of this.#leases.expire(this.clock.now())) this.#end(ended);
      this.#lookLater();
    });
  }

  #end(lease: string): void {
    const kept = [...this.#leased].filter(([, id]) => id === lease);
    if (kept.length > 0) this.#apply(kept.map(([key]) => ({ key: bytesOf(key), value: undefined })));
  }
}

/** How one coordinator reaches the engine; outlasts its processes. */
export class StateLink {
  isCut = false;
  /** Starts so far, for chance of their own. */
  starts: number;

  constructor(first: number) {
    this.starts = first;
  }
}

export class SharedStateStore implements StateStore {
  readonly isShared = true;
  readonly clusterId: Uint8Array;
  readonly #engine: SharedStateEngine;
  readonly #process: StoreProcess;
  readonly #link: StateLink;
  readonly #random: Random;
  readonly #table: MemoryTable;
  readonly #feed: ChangeFeed;
  readonly #stopWatching: () => void;
  #revision: number;
  /** How much of the engine's log the mirror has seen. */
  #at: number;
  #pumping = false;
  #status: 'open' | 'closed' | 'crashed' = 'open';
  /** When requests that are under way arrive: they keep their order. */
  #lastArrival = 0;
  #heardAt: Micros;
  /** Those who wait until the mirror has seen a revision. */
  #waiting: { readonly revision: number; readonly run: () => void }[] = [];

  constructor(engine: SharedStateEngine, process: StoreProcess, link: StateLink, random: Random) {
    this.#engine = engine;
    this.#process = process;
    this.#link = link;
    this.#random = random;
    this.clusterId = engine.clusterId.slice();
    this.#table = new MemoryTable(engine.table);
    this.#revision = engine.revision;
    this.#at = engine.log.length;
    this.#feed = new ChangeFeed(this.#revision);
    this.#heardAt = process.now();
    this.#stopWatching = engine.watch(() => this.#pump());
  }

  /** The process dies: nobody is answered any more. Requests on their way arrive all the same. */
  crash(): void {
    this.#status = 'crashed';
    this.#stopWatching();
  }

  get revision(): number {
    return this.#revision;
  }

  get isCurrent(): boolean {
    if (!this.#isReached) return this.#process.now() < micros(this.#heardAt + STALE_MICROS);
    this.#heardAt = this.#process.now();
    return true;
  }

  get(key: Uint8Array): Uint8Array | undefined {
    this.#requireOpen();
    return this.#table.get(key);
  }

  range(start: Uint8Array, end: Uint8Array, limit: number): Iterable<readonly [Uint8Array, Uint8Array]> {
    this.#requireOpen();
    return this.#table.range(start, end, limit);
  }

  async commit(compare: readonly Comparison[], operations: readonly StateOperation[]): Promise<CommitResult> {
    this.#requireOpen();
    checkCommit(compare, operations);
    const compared = compare.map(({ key, equals }) => ({ key: key.slice(), equals: equals?.slice() }));
    const changes = operations.map(({ key, value, lease }) => {
      return { key: key.slice(), value: value?.slice(), lease };
    });
    const carryOut = (): CommitResult => this.#engine.commit(compared, changes);
    if (!this.#isReached && this.#random.chance(STRAY_CHANCE)) this.#stray(carryOut);
    const result = await this.#request(carryOut);
    await this.#seen(result.revision);
    return result;
  }

  async lease(ttlMicros: Micros): Promise<StateLease> {
    this.#requireOpen();
    return this.#request(() => this.#engine.lease(ttlMicros));
  }

  async keepAlive(lease: StateLease): Promise<boolean> {
    this.#requireOpen();
    return this.#request(() => this.#engine.keepAlive(lease));
  }

  watch(from: number, listener: ChangeListener): () => void {
    this.#requireOpen();
    return this.#feed.watch(from, listener);
  }

  async close(): Promise<void> {
    this.#status = 'closed';
    this.#stopWatching();
  }

  get #isReached(): boolean {
    return !this.#link.isCut && !this.#engine.isDown;
  }

  /** Asks the engine; the request or its answer may be lost. */
  #request<Answer>(carryOut: () => Answer): Promise<Answer> {
    const { clock } = this.#engine;
    const isSent = this.#isReached;
    return new Promise((resolve, reject) => {
      const answered = (settle: () => void): void => {
        if (this.#status !== 'crashed') settle();
      };
      void this.#process.wait(REQUEST_MICROS).then(() => answered(() => reject(noAnswer())));
      if (!isSent) return;
      this.#lastArrival = Math.max(this.#lastArrival, clock.now() + this.#transit());
      clock.schedule(this.#lastArrival - clock.now(), () => {
        if (this.#engine.isDown) return;
        let answer: () => void;
        try {
          const value = carryOut();
          answer = () => resolve(value);
        } catch (error) {
          const reason = error instanceof GramlineError ? error : leaseEnded();
          answer = () => reject(reason);
        }
        void this.#process.wait(this.#transit()).then(() => {
          if (!this.#link.isCut) answered(answer);
        });
      });
    });
  }

  /** A commit that lies in the queue of a member that stands still, as its coordinator gives it up. */
  #stray(carryOut: () => CommitResult): void {
    this.#engine.clock.schedule(REQUEST_MICROS + this.#random.integer(STRAY_MICROS_MAX), () => {
      if (this.#engine.isDown) return;
      try {
        carryOut();
      } catch {
        // Its lease has ended.
      }
    });
  }

  /** Resolves when the mirror has seen `revision`. */
  #seen(revision: number): Promise<void> {
    if (this.#revision >= revision) return Promise.resolve();
    return new Promise((run) => this.#waiting.push({ revision, run }));
  }

  /** Follows the engine's log, a little later than it is written, in order. */
  #pump(): void {
    if (this.#pumping || this.#status !== 'open') return;
    this.#pumping = true;
    void this.#process.wait(this.#transit()).then(() => {
      this.#pumping = false;
      if (this.#status !== 'open') return;
      if (!this.#isReached) {
        // Asked again until the way is open; the log waits.
        void this.#process.wait(this.#transit() * 20).then(() => this.#pump());
        return;
      }
      this.#follow();
    });
  }

  #follow(): void {
    const { log, revision } = this.#engine;
    while (this.#at < log.length) {
      const batch: StateChange[] = [];
      const first = log[this.#at]!.revision;
      for (; log[this.#at]?.revision === first; this.#at++) {
        const { key, value } = log[this.#at]!;
        this.#table.set(key, value);
        batch.push({ key: bytesOf(key), value: value?.slice(), revision: first });
      }
      this.#revision = first;
      this.#feed.publish(batch);
    }
    this.#revision = Math.max(this.#revision, revision);
    const ready = this.#waiting.filter((waiting) => waiting.revision <= this.#revision);
    this.#waiting = this.#waiting.filter((waiting) => waiting.revision > this.#revision);
    for (const { run } of ready) run();
  }

  #transit(): number {
    const most = this.#random.chance(LATE_CHANCE) ? LATE_TRANSIT_MICROS_MAX : TRANSIT_MICROS_MAX;
    return 1 + this.#random.integer(most);
  }

  #requireOpen(): void {
    if (this.#status !== 'open') throw stateClosed();
  }
}

function noAnswer(): GramlineError {
  return new GramlineError(
    'GRAMLINE_IO',
    'the shared state did not answer: it may have taken effect all the same',
    { retryable: true },
  );
}
