/**
 * The receiving side of acknowledgement: which packet numbers have arrived, and when an ACK is due
 * (RFC 9000 section 13.2) [ACK-5]. One tracker a space.
 */

import { type Micros, micros, type PacketNumber } from '../base/units.ts';
import { ACK_EVERY, MAX_ACK_DELAY_MICROS } from './limits.ts';
import { RangeSet } from './ranges.ts';

const UINT32_MAX = 0xffff_ffff;

export class AckTracker {
  readonly #received = new RangeSet();
  /** Numbers below were forgotten, and count as received. */
  #floor = 0;
  readonly #rangesMax: number;
  #largest = -1;
  #largestArrivedAt: Micros = micros(0);
  #unacked = 0;
  #dueAt: Micros | undefined;

  /** Remembers at most `rangesMax` ranges: the oldest are forgotten first [ACK-4]. */
  constructor(rangesMax: number) {
    this.#rangesMax = rangesMax;
  }

  get largest(): number {
    return this.#largest;
  }

  has(number: number): boolean {
    return number < this.#floor || this.#received.has(number);
  }

  /** A packet arrived whole [ACK-1]. */
  onReceived(now: Micros, number: number, ackEliciting: boolean): void {
    const gap = number !== this.#largest + 1;
    this.#received.add(number, number + 1);
    if (gap && this.#received.count > this.#rangesMax) {
      this.#floor = Math.max(this.#floor, this.#received.ranges[0]!.end);
      this.#received.keepHighest(this.#rangesMax);
    }
    if (number > this.#largest) {
      this.#largest = number;
      this.#largestArrivedAt = now;
    }
    if (!ackEliciting) return;
    this.#unacked += 1;
    if (gap || this.#unacked >= ACK_EVERY) this.#dueAt = now;
    else this.#dueAt ??= micros(now + MAX_ACK_DELAY_MICROS);
  }

  /** When an ACK must have left, or undefined when nothing waits for one. */
  get dueAt(): Micros | undefined {
    return this.#dueAt;
  }

  /** Whether an ACK would carry news. */
  get pending(): boolean {
    return this.#unacked > 0;
  }

  /**
   * The ranges for an ACK frame, highest first, inclusive; none when nothing arrived. Lengths and gaps
   * are 32 bits wide there: what lies further back is left out [ACK-4].
   */
  ranges(): { first: PacketNumber; last: PacketNumber }[] {
    const ranges: { first: PacketNumber; last: PacketNumber }[] = [];
    const { ranges: received } = this.#received;
    for (let index = received.length - 1; index >= 0; index--) {
      const last = received[index]!.end - 1;
      const first = Math.max(received[index]!.start, last - UINT32_MAX);
      const above = ranges[ranges.length - 1];
      if (above !== undefined && above.first - last - 2 > UINT32_MAX) break;
      ranges.push({ first: first as PacketNumber, last: last as PacketNumber });
      if (first !== received[index]!.start) break;
    }
    return ranges;
  }

  /** The peer knows of everything up to `largest`: older ranges need not be repeated [ACK-6]. */
  onAckAcked(largest: number): void {
    const { ranges } = this.#received;
    const last = ranges[ranges.length - 1];
    // The newest range stays, so that `largest` and gaps are still known.
    if (last === undefined) return;
    const below = Math.min(largest, last.start);
    this.#floor = Math.max(this.#floor, below);
    this.#received.removeBelow(below);
  }

  delayMicros(now: Micros): Micros {
    return micros(Math.max(0, now - this.#largestArrivedAt));
  }

  /** An ACK has left. */
  onAckSent(): void {
    this.#unacked = 0;
    this.#dueAt = undefined;
  }
}
