/**
 * The packets of one space that have been sent and are neither acknowledged nor lost, oldest first.
 *
 * A ring of plain numbers: at a million packets a second an object and a map entry a packet would
 * keep the collector busier than the sender. Packets are named by their position, which only grows;
 * a packet that was settled in the middle leaves a hole until all before it are settled too.
 * Since loss detection leaves at most a few packets below the largest acknowledged one, and
 * {@link SentPackets.compact} closes the holes that forgetting makes, the ring spans little more
 * than what is in flight.
 */

import type { Micros, PacketNumber } from '../base/units.ts';

/** Slots at the first packet: most sessions never have more in flight. A power of two. */
const SLOTS_MIN = 16;
/** Numbers kept of a packet: its number, when it was sent, its bytes, and its state. */
const STRIDE = 4;
const SENT_AT = 1;
const BYTES = 2;
const STATE = 3;

const SETTLED = 0;
const IN_FLIGHT = 1;
const PROBE = 2;

/** What a space that never sent shares with all others. */
const NO_FIELDS = new Float64Array(0);

export class SentPackets<Content> {
  #fields = NO_FIELDS;
  #contents: (Content | undefined)[] = [];
  #mask = -1;
  #head = 0;
  #tail = 0;
  #count = 0;

  /** Packets in flight. */
  get count(): number {
    return this.#count;
  }

  /** Position of the oldest packet; equal to {@link tail} when there is none. */
  get head(): number {
    return this.#head;
  }

  /** The position behind the newest packet. */
  get tail(): number {
    return this.#tail;
  }

  /** Takes in a packet whose number is higher than that of all before. */
  push(number: PacketNumber, sentAt: Micros, bytes: number, content: Content, isProbe: boolean): void {
    if (this.#tail - this.#head > this.#mask) this.#grow();
    const slot = this.#tail & this.#mask;
    const at = slot * STRIDE;
    const fields = this.#fields;
    fields[at] = number;
    fields[at + SENT_AT] = sentAt;
    fields[at + BYTES] = bytes;
    fields[at + STATE] = isProbe ? PROBE : IN_FLIGHT;
    this.#contents[slot] = content;
    this.#tail += 1;
    this.#count += 1;
  }

  /** Position of the first packet with this number or a higher one; {@link tail} when there is none. */
  positionOf(number: number): number {
    if (this.#head === this.#tail || number <= this.numberAt(this.#head)) return this.#head;
    // Where every number is a packet of this space the guess is right; elsewhere it is an upper bound.
    const guess = this.#head + number - this.numberAt(this.#head);
    if (guess < this.#tail && this.numberAt(guess) === number) return guess;
    let low = this.#head + 1;
    let high = Math.min(guess, this.#tail);
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (this.numberAt(middle) < number) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  numberAt(position: number): number {
    return this.#fields[(position & this.#mask) * STRIDE]!;
  }

  sentAt(position: number): Micros {
    return this.#fields[(position & this.#mask) * STRIDE + SENT_AT] as Micros;
  }

  bytesAt(position: number): number {
    return this.#fields[(position & this.#mask) * STRIDE + BYTES]!;
  }

  /** Whether the packet at this position still waits for its fate. */
  isInFlight(position: number): boolean {
    return this.#fields[(position & this.#mask) * STRIDE + STATE] !== SETTLED;
  }

  /** Whether it probes a datagram size. */
  isProbe(position: number): boolean {
    return this.#fields[(position & this.#mask) * STRIDE + STATE] === PROBE;
  }

  /** What a packet in flight carries. */
  contentAt(position: number): Content {
    return this.#contents[position & this.#mask] as Content;
  }

  /** Takes a packet in flight out and returns what it carried. Its other values stay until {@link trim}. */
  settle(position: number): Content {
    const slot = position & this.#mask;
    const content = this.#contents[slot] as Content;
    this.#contents[slot] = undefined;
    this.#fields[slot * STRIDE + STATE] = SETTLED;
    this.#count -= 1;
    return content;
  }

  /** Gives the slots of settled packets at the old end back. */
  trim(): void {
    if (this.#count === 0) this.#head = this.#tail;
    else while (!this.isInFlight(this.#head)) this.#head += 1;
  }

  /** Closes all holes. Positions change. */
  compact(): void {
    let to = this.#head;
    for (let from = this.#head; from < this.#tail; from++) {
      if (!this.isInFlight(from)) continue;
      if (from !== to) this.#move(from, to);
      to += 1;
    }
    this.#tail = to;
  }

  #move(from: number, to: number): void {
    const fromSlot = from & this.#mask;
    const toSlot = to & this.#mask;
    this.#fields.copyWithin(toSlot * STRIDE, fromSlot * STRIDE, (fromSlot + 1) * STRIDE);
    this.#contents[toSlot] = this.#contents[fromSlot];
    this.#contents[fromSlot] = undefined;
  }

  #grow(): void {
    const slots = Math.max(SLOTS_MIN, 2 * (this.#mask + 1));
    const fields = new Float64Array(slots * STRIDE);
    const contents = new Array<Content | undefined>(slots).fill(undefined);
    for (let position = this.#head; position < this.#tail; position++) {
      const from = position & this.#mask;
      const to = position & (slots - 1);
      fields.set(this.#fields.subarray(from * STRIDE, (from + 1) * STRIDE), to * STRIDE);
      contents[to] = this.#contents[from];
    }
    this.#fields = fields;
    this.#contents = contents;
    this.#mask = slots - 1;
  }
}
