/**
 * Repair: the leader sees to it that objects have as many replicas as they are to have [REP-2] [REP-5].
 *
 *   a node went for good, drains, is back; a change of the catalog --> looked at --> queued
 *   too few that count --> COPY to another node --> receipt --> committed
 *   too many, or on a node that leaves --> one that stays is checked by COPY --> struck, durably --> DELETE
 *   refused, or no place --> later, or when a node comes
 *
 * Who counts is `attendance.ts`, what comes first `repair-queue.ts`, how one object is seen to `repair-work.ts`.
 */

import { toHex } from '../base/bytes.ts';
import { mark } from '../base/marks.ts';
import { type Micros, micros, seconds } from '../base/units.ts';
import type { Admission } from './admission.ts';
import { Attendance } from './attendance.ts';
import type { Catalog } from './catalog.ts';
import { type CatalogEntry, decodeEntry, hasOtherCount } from './catalog-entry.ts';
import type { Member, Membership } from './membership.ts';
import type { Pace } from './pace.ts';
import type { Clock, Entropy, Log, StateStore, Timer } from './ports.ts';
import type { Receipts } from './receipts.ts';
import { RepairQueue } from './repair-queue.ts';
import { type Outcome, RepairWork } from './repair-work.ts';
import { every, sleep } from './roles.ts';
import { isBehind, OBJECT_PREFIX } from './state-keys.ts';

/** So long the replicas of a node that went still count, and so long surplus ones are left alone [REP-2]. */
export const REPAIR_DELAY_MICROS: Micros = seconds(60);
/** What is copied and checked at most, where nothing else is asked for. */
export const REPAIR_BYTES_PER_SECOND = 50_000_000;
/** Below that one large object would take days. */
export const REPAIR_BYTES_PER_SECOND_MIN = 100_000;
/** Objects that are seen to at once. */
export const REPAIRS_MAX = 8;
/** Objects that wait for another try; of more it is only known that there were some: then all are looked at. */
export const RETRIES_MAX = 4_096;

/** Members are looked at this often. */
const LOOK_MICROS: Micros = seconds(1);
/** What was refused is tried again after this, doubled while nothing changes, up to the most. */
const RETRY_MICROS: Micros = seconds(5);
const RETRY_MICROS_MAX: Micros = seconds(60);
/** Objects that are taken from the queue in one go: of most nothing may be left to be done. */
const TAKEN_MAX = 256;
/** Nodes whose objects are looked at one after the other; of more, all objects are. */
const NODES_SCANNED_MAX = 2;

export interface RepairOptions {
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly log: Log;
  readonly state: Pick<StateStore, 'revision' | 'watch'>;
  readonly catalog: Catalog;
  readonly members: Membership;
  readonly admission: Admission;
  readonly receipts: Receipts;
  readonly pace: Pace;
  /** Ends all. */
  readonly signal: AbortSignal;
  /** Default {@link REPAIR_DELAY_MICROS}. */
  readonly delayMicros?: Micros | undefined;
  /** Default {@link REPAIR_BYTES_PER_SECOND}. */
  readonly bytesPerSecond?: number | undefined;
  /** Before it first looks at all objects: until then nodes join. */
  readonly startMicros: Micros;
}

/** What repair has to do, as far as it knows. */
export interface RepairStatus {
  /** Objects below their replication that could be copied, those that are just being copied among them. */
  readonly missing: number;
  /** Objects that are being copied or checked. */
  readonly copying: number;
  /** Objects with replicas to take away. */
  readonly surplus: number;
  /** Whether objects are being looked through: more may be found. */
  readonly scanning: boolean;
}

export const NO_REPAIR: RepairStatus = { missing: 0, copying: 0, surplus: 0, scanning: false };

export class Repair {
  readonly #options: RepairOptions;
  readonly #delay: Micros;
  readonly #bytesPerSecond: number;
  readonly #attendance: Attendance;
  readonly #work: RepairWork;
  readonly #queue = new RepairQueue();
  /** Objects that are being seen to, and since when, oldest first; whether by a copy. */
  readonly #busy = new Map<string, { readonly since: Micros; readonly isCopy: boolean }>();
  /** Objects that wait for another try, and whether they lack replicas. */
  readonly #later = new Map<string, { readonly hash: Uint8Array; readonly isMissing: boolean }>();
  #hasForgottenLater = false;
  #retryAt: Micros | undefined;
  #retrySpan = RETRY_MICROS;
  /** What is to be looked through: nodes, or all objects. */
  readonly #suspects = new Set<Member>();
  #suspectsAll = false;
  #isScanning = false;
  /** When the rate allows for the next bytes. */
  #nextAt = micros(0);
  #waiting: Timer | undefined;
  /** Of the repair under way, for the log; undefined when there is none. */
  #round: { readonly since: Micros; copied: number; bytes: number } | undefined;

  constructor(options: RepairOptions) {
    this.#options = options;
    const { clock, members, admission, state, signal, log, startMicros } = options;
    this.#delay = options.delayMicros ?? REPAIR_DELAY_MICROS;
    this.#bytesPerSecond = options.bytesPerSecond ?? REPAIR_BYTES_PER_SECOND;
    this.#attendance = new Attendance(members, this.#delay, (member) => admission.hasTold(member));
    this.#work = new RepairWork({ ...options, attendance: this.#attendance });
    const stopWatching = state.watch(state.revision, (changes) => {
      for (const { key, value } of changes) {
        if (value !== undefined && isBehind(key, OBJECT_PREFIX)) this.#onChange(key, value);
      }
    });
    const end = (): void => {
      stopWatching();
      this.#waiting?.cancel();
    };
    signal.addEventListener('abort', end, { once: true });
    const onFailure = (error: unknown): void => {
      if (!signal.aborted) log.error('repair failed', { reason: String(error) });
    };
    void sleep(clock, startMicros, signal).then(() => {
      if (signal.aborted) return;
      // What the term before this one had in mind is not known.
      this.#suspectsAll = true;
      this.#look();
      void every(clock, LOOK_MICROS, signal, () => this.#look(), onFailure);
    });
  }

  get status(): RepairStatus {
    let missing = this.#queue.missing;
    for (const { isMissing } of this.#later.values()) if (isMissing) missing += 1;
    for (const { isCopy } of this.#busy.values()) if (isCopy) missing += 1;
    const scanning = this.#isScanning || this.#suspectsAll || this.#suspects.size > 0;
    return { missing, copying: this.#busy.size, surplus: this.#queue.surplus, scanning };
  }

  /** When the oldest copy under way began: orders to delete that ended since are asked about [DEFS-24]. */
  get oldestAt(): Micros | undefined {
    for (const { since } of this.#busy.values()) return since;
    return undefined;
  }

  // ---------------------------------------------------------------- what there is to do

  #look(): void {
    const now = this.#options.clock.now();
    const changed = this.#attendance.look(now);
    for (const member of changed) this.#suspects.add(member);
    if (changed.length > 0) {
      this.#retrySpan = RETRY_MICROS;
      this.#retryAt = now;
    }
    if (this.#retryAt !== undefined && now >= this.#retryAt) this.#retry();
    if (this.#queue.size === 0 && this.#queue.takeForgotten()) this.#suspectsAll = true;
    if (!this.#isScanning && (this.#suspectsAll || this.#suspects.size > 0)) void this.#scan();
    this.#pump();
    this.#tell(now);
  }

  /** Looks through the objects of the nodes under suspicion, or through all. */
  async #scan(): Promise<void> {
    const { catalog, pace, signal, log } = this.#options;
    const isAll = this.#suspectsAll || this.#suspects.size > NODES_SCANNED_MAX;
    const nodes = [...this.#suspects];
    this.#suspectsAll = false;
    this.#suspects.clear();
    this.#isScanning = true;
    const pause = (entries: number): Promise<void> => pace.take(entries);
    try {
      const parts = isAll ? [catalog.all(pause)] : nodes.map(({ nodeId }) => catalog.heldBy(nodeId, pause));
      for (const part of parts) {
        for await (const { hash, entry } of part) {
          if (signal.aborted) return;
          this.#examine(hash, entry);
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      log.error('repair could not look through the catalog', { reason: String(error) });
      this.#forgetLater();
    } finally {
      this.#isScanning = false;
    }
    this.#pump();
  }

  /** An entry was written: most have what they are to have. */
  #onChange(key: Uint8Array, value: Uint8Array): void {
    const hash = key.slice(1);
    if (this.#attendance.allCount && !hasOtherCount(value) && !this.#queue.has(hash)) return;
    if (this.#examine(hash, decodeEntry(value))) this.#pump();
  }

  /** Queues an object where something is to be done about it; whether it did. */
  #examine(hash: Uint8Array, entry: CatalogEntry): boolean {
    const key = toHex(hash);
    // It is looked at again behind that.
    if (this.#busy.has(key)) return false;
    const { missing, counting, surplus, isLeaving } = this.#attendance.plan(entry);
    if (missing > 0) this.#queue.addMissing(hash, counting);
    else if (isLeaving) this.#queue.addLeaving(hash);
    else if (surplus.length > 0)
      this.#queue.addSurplus(hash, micros(this.#options.clock.now() + this.#delay));
    else {
      this.#queue.remove(hash);
      return false;
    }
    this.#later.delete(key);
    return true;
  }

  #retry(): void {
    this.#retryAt = undefined;
    if (this.#hasForgottenLater) this.#suspectsAll = true;
    this.#hasForgottenLater = false;
    const waiting = [...this.#later.values()];
    this.#later.clear();
    for (const { hash } of waiting) this.#examineAgain(hash);
  }

  #examineAgain(hash: Uint8Array): void {
    const entry = this.#options.catalog.lookup(hash);
    if (entry !== undefined) this.#examine(hash, entry);
  }

  #putOff(hash: Uint8Array, isMissing: boolean): void {
    if (this.#later.size >= RETRIES_MAX) this.#forgetLater();
    else this.#later.set(toHex(hash), { hash, isMissing });
    if (this.#retryAt !== undefined) return;
    this.#retryAt = micros(this.#options.clock.now() + this.#retrySpan);
    this.#retrySpan = micros(Math.min(this.#retrySpan * 2, RETRY_MICROS_MAX));
  }

  #forgetLater(): void {
    this.#hasForgottenLater = true;
    this.#retryAt ??= micros(this.#options.clock.now() + this.#retrySpan);
  }

  // ---------------------------------------------------------------- doing it

  /** Begins what may be begun now. */
  #pump(): void {
    const { clock, signal } = this.#options;
    for (let taken = 0; !signal.aborted && this.#busy.size < REPAIRS_MAX; taken++) {
      const now = clock.now();
      if (now < this.#nextAt || taken === TAKEN_MAX) return this.#pumpAt(micros(Math.max(now, this.#nextAt)));
      const hash = this.#queue.take(now);
      if (hash === undefined) {
        const { dueAt } = this.#queue;
        if (dueAt !== undefined) this.#pumpAt(dueAt);
        return;
      }
      this.#begin(hash, now);
    }
  }

  #pumpAt(at: Micros): void {
    this.#waiting?.cancel();
    this.#waiting = this.#options.clock.setTimer(at, () => this.#pump());
  }

  #begin(hash: Uint8Array, now: Micros): void {
    const entry = this.#options.catalog.lookup(hash);
    if (entry === undefined) return;
    const plan = this.#attendance.plan(entry);
    if (plan.missing > 0) {
      const target = this.#work.placeFor(hash, entry);
      if (target === undefined) {
        mark('repair-no-place');
        return this.#putOff(hash, true);
      }
      this.#round ??= this.#startRound(now);
      this.#run(hash, entry, now, true, this.#work.copy(hash, entry, plan, target));
    } else if (plan.surplus.length > 0) {
      this.#run(hash, entry, now, false, this.#work.thin(hash, entry, plan));
    }
  }

  #run(
    hash: Uint8Array,
    { bytes }: CatalogEntry,
    now: Micros,
    isCopy: boolean,
    work: Promise<Outcome>,
  ): void {
    const { signal, log } = this.#options;
    const key = toHex(hash);
    this.#busy.set(key, { since: now, isCopy });
    this.#nextAt = micros(now + Math.ceil((bytes * 1_000_000) / this.#bytesPerSecond));
    work
      .catch((error: unknown): Outcome => {
        // A node that went or refused, or a state that is out of reach.
        if (!signal.aborted) log.warn('an object was not repaired', { hash: key, reason: String(error) });
        return 'later';
      })
      .then((outcome) => {
        this.#busy.delete(key);
        if (signal.aborted) return;
        if (outcome === 'copied') this.#onCopied(bytes);
        if (outcome === 'later') this.#putOff(hash, isCopy);
        else this.#examineAgain(hash);
        this.#pump();
      });
  }

  #onCopied(bytes: number): void {
    this.#retrySpan = RETRY_MICROS;
    if (this.#round === undefined) return;
    this.#round.copied += 1;
    this.#round.bytes += bytes;
  }

  // ---------------------------------------------------------------- what the log is told

  #startRound(since: Micros): { readonly since: Micros; copied: number; bytes: number } {
    const { missing } = this.status;
    this.#options.log.info('repair begins', { objects: missing });
    return { since, copied: 0, bytes: 0 };
  }

  #tell(now: Micros): void {
    const round = this.#round;
    const { copying, scanning } = this.status;
    if (round === undefined || copying > 0 || scanning || this.#queue.missing > 0) return;
    this.#round = undefined;
    const { copied, bytes, since } = round;
    const tookMillis = Math.round((now - since) / 1_000);
    this.#options.log.info('repair ends', { copied, bytes, tookMillis, left: this.#later.size });
  }
}
