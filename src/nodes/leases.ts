/**
 * The one mechanism behind everything that is held for a time:
 *
 *   free -- hold --> held -- finish(done | failed) --> gone
 *                    held -- deadline passes -------> gone (reported as expired)
 *                    held -- renew --> held
 *
 * It serves space reservations, places in the queues of locks, and user sessions, of which there may be a
 * million: a heap says whose deadline is next, so that nobody looks at all. Pure: time is an argument.
 */

import { toHex } from '../base/bytes.ts';
import type { Micros } from '../base/units.ts';

export interface Lease<Value> {
  readonly token: Uint8Array;
  readonly owner: string;
  readonly deadline: Micros;
  readonly value: Value;
}

/** A lease that knows its place in the heap. */
interface Held<Value> extends Lease<Value> {
  readonly key: string;
  deadline: Micros;
  place: number;
}

export class LeaseTable<Value> {
  readonly #held = new Map<string, Held<Value>>();
  /** The same, the earliest deadline first. */
  readonly #heap: Held<Value>[] = [];
  readonly #max: number;
  readonly #onExpired: (lease: Lease<Value>) => void;

  /** Holds at most `max` leases. `onExpired` hears of each whose deadline passed. */
  constructor(max: number, onExpired: (lease: Lease<Value>) => void) {
    this.#max = max;
    this.#onExpired = onExpired;
  }

  get size(): number {
    return this.#held.size;
  }

  get full(): boolean {
    return this.#held.size >= this.#max;
  }

  /** The lease that was held first, of those that are held now. */
  get oldest(): Lease<Value> | undefined {
    for (const lease of this.#held.values()) return lease;
    return undefined;
  }

  /** Holds a new lease; undefined at the maximum, or when the token is held already. */
  hold(token: Uint8Array, owner: string, deadline: Micros, value: Value): Lease<Value> | undefined {
    const key = toHex(token);
    if (this.full || this.#held.has(key)) return undefined;
    const lease = { token, key, owner, deadline, value, place: this.#heap.length };
    this.#held.set(key, lease);
    this.#heap.push(lease);
    this.#rise(lease);
    return lease;
  }

  get(token: Uint8Array): Lease<Value> | undefined {
    return this.#held.get(toHex(token));
  }

  /** Moves the deadline; false when nothing is held under the token. */
  renew(token: Uint8Array, deadline: Micros): boolean {
    const lease = this.#held.get(toHex(token));
    if (lease === undefined) return false;
    lease.deadline = deadline;
    this.#settle(lease);
    return true;
  }

  /** Ends a lease before its deadline; returns it, if it was held. */
  finish(token: Uint8Array): Lease<Value> | undefined {
    const lease = this.#held.get(toHex(token));
    if (lease !== undefined) this.#remove(lease);
    return lease;
  }

  /** Ends every lease whose deadline has passed, the earliest first. */
  expire(now: Micros): void {
    for (let first = this.#heap[0]; first !== undefined && first.deadline <= now; first = this.#heap[0]) {
      this.#remove(first);
      this.#onExpired(first);
    }
  }

  #remove(lease: Held<Value>): void {
    this.#held.delete(lease.key);
    const last = this.#heap.pop()!;
    if (last === lease) return;
    last.place = lease.place;
    this.#heap[last.place] = last;
    this.#settle(last);
  }

  /** Moves a lease to where it belongs by its deadline. */
  #settle(lease: Held<Value>): void {
    this.#rise(lease);
    this.#sink(lease);
  }

  #rise(lease: Held<Value>): void {
    while (lease.place > 0) {
      const parent = this.#heap[(lease.place - 1) >>> 1]!;
      if (parent.deadline <= lease.deadline) return;
      this.#swap(lease, parent);
    }
  }

  #sink(lease: Held<Value>): void {
    for (;;) {
      const left = this.#heap[2 * lease.place + 1];
      const right = this.#heap[2 * lease.place + 2];
      const child = right !== undefined && right.deadline < left!.deadline ? right : left;
      if (child === undefined || child.deadline >= lease.deadline) return;
      this.#swap(child, lease);
    }
  }

  #swap(left: Held<Value>, right: Held<Value>): void {
    [left.place, right.place] = [right.place, left.place];
    this.#heap[left.place] = left;
    this.#heap[right.place] = right;
  }
}
