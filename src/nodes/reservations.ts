/** Space that is promised to a put until it is committed, released or forgotten [DEFS-4]. */

import { mark } from '../base/marks.ts';
import { type Micros, micros, seconds } from '../base/units.ts';
import { LeaseTable } from './leases.ts';
import { accountedBytes, type Member } from './membership.ts';

/** How long a reservation lasts unless it is renewed [DEFS-4]. */
export const RESERVATION_LEASE_MICROS: Micros = seconds(30);
/** How long a reservation lasts at most, however often it is renewed [DEFS-4]. */
export const RESERVATION_MICROS_MAX: Micros = seconds(24 * 3_600);
/** Reservations at once; one more is refused as busy. */
export const RESERVATIONS_MAX = 100_000;

export interface Reservation {
  readonly members: readonly Member[];
  readonly bytes: number;
  readonly heldAt: Micros;
}

export class Reservations {
  readonly #leases: LeaseTable<Reservation>;

  constructor(onExpired: (reservation: Reservation) => void) {
    this.#leases = new LeaseTable<Reservation>(RESERVATIONS_MAX, (lease) => {
      mark('lease-expired');
      giveBack(lease.value);
      onExpired(lease.value);
    });
  }

  get size(): number {
    return this.#leases.size;
  }

  get full(): boolean {
    return this.#leases.full;
  }

  /** When the oldest reservation that is held was made; undefined when none is. */
  get oldestHeldAt(): Micros | undefined {
    return this.#leases.oldest?.value.heldAt;
  }

  /** Promises `bytes` on each of `members`; the caller has looked that nothing is held under the token. */
  hold(now: Micros, token: Uint8Array, owner: string, members: readonly Member[], bytes: number): void {
    const accounted = accountedBytes(bytes);
    for (const member of members) member.reservedBytes += accounted;
    this.#leases.hold(token, owner, deadline(now, now), { members, bytes: accounted, heldAt: now });
  }

  get(now: Micros, token: Uint8Array): Reservation | undefined {
    this.#leases.expire(now);
    return this.#leases.get(token)?.value;
  }

  renew(now: Micros, token: Uint8Array): boolean {
    this.#leases.expire(now);
    const reservation = this.#leases.get(token)?.value;
    if (reservation !== undefined) mark('lease-renewed');
    return reservation !== undefined && this.#leases.renew(token, deadline(now, reservation.heldAt));
  }

  /** Ends a reservation: its space is free, or by now taken for good. */
  finish(token: Uint8Array): Reservation | undefined {
    const lease = this.#leases.finish(token);
    if (lease !== undefined) giveBack(lease.value);
    return lease?.value;
  }

  expire(now: Micros): void {
    this.#leases.expire(now);
  }
}

function deadline(now: Micros, heldAt: Micros): Micros {
  return micros(Math.min(now + RESERVATION_LEASE_MICROS, heldAt + RESERVATION_MICROS_MAX));
}

function giveBack(reservation: Reservation): void {
  for (const member of reservation.members) member.reservedBytes -= reservation.bytes;
}
