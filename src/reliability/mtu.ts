/**
 * Datagram size probing, RFC 8899 (DPLPMTUD): starts at what every path carries, tries larger
 * sizes with probes of their own, falls back when large datagrams stop arriving [MTU-2].
 */

import { mark } from '../base/marks.ts';
import { type Micros, micros, millis, seconds } from '../base/units.ts';

/** Probes of one size before it counts as too large (RFC 8899 MAX_PROBES) [MTU-3]. */
export const MTU_PROBES_MAX = 3;
/** Time after which the next larger size is tried again [MTU-4]. */
export const MTU_RAISE_MICROS: Micros = seconds(600);
/** Time before a lost probe is repeated. */
export const MTU_PROBE_MICROS: Micros = millis(100);
/** Instants in a row at which large packets were lost, with none acknowledged, before the size falls back [MTU-5]. */
export const MTU_BLACK_HOLE_LOSSES = 6;

export class MtuProbe {
  readonly #sizes: readonly number[];
  #index = 0;
  /** Index of the size being probed; the end when the search is over. */
  #candidate: number;
  #probes = 0;
  #inFlight = false;
  #nextAt: Micros | undefined;
  #losses = 0;
  #lastLossAt: Micros | undefined;

  /** `sizes` ascend; the first one is taken as proven. */
  constructor(sizes: readonly number[], now: Micros) {
    this.#sizes = sizes;
    this.#candidate = sizes.length - 1;
    this.#nextAt = sizes.length > 1 ? now : undefined;
  }

  /** UDP payload bytes that may be sent. */
  get datagramBytes(): number {
    return this.#sizes[this.#index]!;
  }

  /** When a probe should leave, if one should. */
  timeoutAt(): Micros | undefined {
    return this.#inFlight ? undefined : this.#nextAt;
  }

  /** The size to probe now, or undefined. The caller sends exactly one packet of it. */
  takeProbe(now: Micros): number | undefined {
    if (this.#inFlight || this.#nextAt === undefined || this.#nextAt > now) return undefined;
    if (this.#candidate <= this.#index) this.#candidate = this.#sizes.length - 1;
    this.#inFlight = true;
    this.#nextAt = undefined;
    return this.#sizes[this.#candidate];
  }

  onProbeAcked(now: Micros, bytes: number): void {
    this.#inFlight = false;
    this.#probes = 0;
    this.#losses = 0;
    const index = this.#sizes.indexOf(bytes);
    mark('mtu-raised');
    if (index > this.#index) this.#index = index;
    this.#nextAt = this.#index < this.#sizes.length - 1 ? micros(now + MTU_RAISE_MICROS) : undefined;
  }

  /** Larger sizes are tried first on a LAN: a lost probe means trying again, then the next smaller. */
  onProbeLost(now: Micros): void {
    this.#inFlight = false;
    this.#probes += 1;
    this.#nextAt = micros(now + MTU_PROBE_MICROS);
    if (this.#probes < MTU_PROBES_MAX) return;
    mark('mtu-too-large');
    this.#probes = 0;
    this.#candidate -= 1;
    if (this.#candidate <= this.#index) {
      this.#nextAt = this.#index < this.#sizes.length - 1 ? micros(now + MTU_RAISE_MICROS) : undefined;
    }
  }

  /** A packet larger than the least size was acknowledged. */
  onLargeAcked(): void {
    this.#losses = 0;
  }

  /** A packet larger than the least size was lost; returns whether the size fell back. */
  onLargeLost(now: Micros): boolean {
    // One burst is one loss: a full queue drops many packets at once, a black hole drops them all the time.
    if (this.#index === 0 || this.#lastLossAt === now) return false;
    this.#lastLossAt = now;
    this.#losses += 1;
    if (this.#losses < MTU_BLACK_HOLE_LOSSES) return false;
    mark('mtu-black-hole');
    this.#losses = 0;
    this.#index = 0;
    this.#candidate = this.#sizes.length - 1;
    this.#nextAt = micros(now + MTU_PROBE_MICROS);
    return true;
  }
}
