/**
 * Who waits for which lock, and who holds it [LOCK-2]:
 *
 *   waiting -- all before it are gone, or it and they are shared --> holding
 *   waiting, holding -- lease over, or given back --> leaving -- removed from the state --> gone
 *
 * A place that leaves stands in the way of those behind it until its removal is durable: a leader after this
 * one must not find it, and before it somebody who was told that he holds the lock. Pure: time is an
 * argument. What is durable, who asks and who is answered is `locks.ts`.
 */

import { equalBytesConstantTime } from '../base/bytes.ts';
import { type Micros, micros } from '../base/units.ts';
import { LeaseTable } from './leases.ts';
import { type LockRecord, lockKey } from './lock-record.ts';

/** Places of one lock [LOCK-6]. */
export const LOCK_PLACES_MAX = 1_024;
/** Places of all locks [LOCK-6]. */
export const PLACES_MAX = 65_536;

export interface LockPlace extends LockRecord {
  /** Under which the state keeps it. */
  readonly key: Uint8Array;
}

export class LockQueues {
  /** By lock: its places, in the order of their numbers. A lock without a place is not there. */
  readonly #queues = new Map<string, LockPlace[]>();
  readonly #leases: LeaseTable<LockPlace>;
  readonly #onExpired: (place: LockPlace) => void;
  #size = 0;

  /** `onExpired` hears of each place whose lease ended; it stays in its queue until it is removed. */
  constructor(onExpired: (place: LockPlace) => void) {
    this.#onExpired = onExpired;
    this.#leases = new LeaseTable<LockPlace>(PLACES_MAX, ({ value }) => onExpired(value));
  }

  /** Places of all locks. */
  get size(): number {
    return this.#size;
  }

  /** Whether there is room for one place more of this lock, where `more` are about to come already. */
  hasRoom(name: string, more: { readonly ofLock: number; readonly ofAll: number }): boolean {
    const { length } = this.#of(name);
    return length + more.ofLock < LOCK_PLACES_MAX && this.#size + more.ofAll < PLACES_MAX;
  }

  /** A place has become durable; its lease begins [LOCK-3]. Harmless when it is there already. */
  add(now: Micros, record: LockRecord): void {
    const queue = this.#of(record.name);
    // Mostly it is the last one.
    let at = queue.length;
    while (at > 0 && queue[at - 1]!.number > record.number) at -= 1;
    if (queue[at - 1]?.number === record.number) return;
    const place = { ...record, key: lockKey(record.name, record.number) };
    queue.splice(at, 0, place);
    this.#queues.set(record.name, queue);
    this.#size += 1;
    // Of what is beyond the maximum nothing would ever be heard again.
    const lease = this.#leases.hold(place.key, '', deadlineOf(now, place), place);
    if (lease === undefined) this.#onExpired(place);
  }

  /** A place has gone from the state. Harmless when it is not there. */
  remove(name: string, number: number): void {
    const queue = this.#of(name);
    const at = queue.findIndex((place) => place.number === number);
    if (at < 0) return;
    const [place] = queue.splice(at, 1);
    this.#leases.finish(place!.key);
    this.#size -= 1;
    if (queue.length === 0) this.#queues.delete(name);
  }

  /** The place of a token. Compares with all of them, each in constant time. */
  find(name: string, tokenHash: Uint8Array): LockPlace | undefined {
    let found: LockPlace | undefined;
    for (const place of this.#of(name)) {
      if (equalBytesConstantTime(place.tokenHash, tokenHash)) found = place;
    }
    return found;
  }

  /** Those that hold a lock, in order, whether or not they are about to leave [LOCK-2]. */
  holders(name: string): readonly LockPlace[] {
    const queue = this.#of(name);
    if (queue[0]?.shared !== true) return queue.slice(0, 1);
    const exclusive = queue.findIndex(({ shared }) => !shared);
    return exclusive < 0 ? queue.slice() : queue.slice(0, exclusive);
  }

  /** Whether a place holds its lock, and is not about to leave. */
  holds(place: LockPlace): boolean {
    return this.stays(place) && this.holders(place.name).includes(place);
  }

  /** How many stand before a place. */
  ahead(place: LockPlace): number {
    return Math.max(0, this.#of(place.name).indexOf(place));
  }

  /** Whether a place is there, and not about to leave. */
  stays(place: LockPlace): boolean {
    return this.#leases.get(place.key)?.value === place;
  }

  /** Lets the lease of a place begin anew [LOCK-3]; false when it has ended. */
  renew(now: Micros, place: LockPlace): boolean {
    return this.stays(place) && this.#leases.renew(place.key, deadlineOf(now, place));
  }

  /** A place is about to be removed: it holds nothing any more. */
  leave(place: LockPlace): void {
    this.#leases.finish(place.key);
  }

  /** Ends the leases that are over. */
  expire(now: Micros): void {
    this.#leases.expire(now);
  }

  #of(name: string): LockPlace[] {
    return this.#queues.get(name) ?? [];
  }
}

function deadlineOf(now: Micros, { leaseMillis }: LockRecord): Micros {
  return micros(now + leaseMillis * 1_000);
}
