/**
 * The one mechanism behind everything that is held for a time:
 *
 *   free -- hold --> held -- finish(done | failed) --> gone
 *                    held -- deadline passes -------> gone (reported as expired)
 *                    held -- renew --> held
 *
 * Here it serves space reservations. Pure: time is an argument.
 */

import { toHex } from '../base/bytes.ts';
import { type Micros, micros } from '../base/units.ts';

export interface Lease<Value> {
  readonly token: Uint8Array;
  readonly owner: string;
  deadline: Micros;
  readonly value: Value;
}

export class LeaseTable<Value> {
  readonly #held = new Map<string, Lease<Value>>();
  readonly #max: number;
  readonly #onExpired: (lease: Lease<Value>) => void;
  /** No lease ends before: there is nothing to look for until then. */
  #noneBefore: Micros = micros(Number.MAX_SAFE_INTEGER);

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
    const lease = { token, owner, deadline, value };
    this.#held.set(key, lease);
    this.#noneBefore = earlier(this.#noneBefore, deadline);
    return lease;
  }

  get(token: Uint8Array): Lease<Value> | undefined {
    return this.#held.get(toHex(token));
  }

  /** Moves the deadline; false when nothing is held under the token. */
  renew(token: Uint8Array, deadline: Micros): boolean {
    const lease = this.get(token);
    if (lease === undefined) return false;
    lease.deadline = deadline;
    this.#noneBefore = earlier(this.#noneBefore, deadline);
    return true;
  }

  /** Ends a lease before its deadline; returns it, if it was held. */
  finish(token: Uint8Array): Lease<Value> | undefined {
    const lease = this.get(token);
    if (lease !== undefined) this.#held.delete(toHex(token));
    return lease;
  }

  /** Ends every lease whose deadline has passed. */
  expire(now: Micros): void {
    // Asked before every query about a lease, and most of the time there is none.
    if (now < this.#noneBefore) return;
    this.#noneBefore = micros(Number.MAX_SAFE_INTEGER);
    for (const [key, lease] of this.#held) {
      if (lease.deadline > now) {
        this.#noneBefore = earlier(this.#noneBefore, lease.deadline);
        continue;
      }
      this.#held.delete(key);
      this.#onExpired(lease);
    }
  }
}

function earlier(left: Micros, right: Micros): Micros {
  return left < right ? left : right;
}
