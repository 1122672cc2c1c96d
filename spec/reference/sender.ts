/**
 * The slow twin of a sender on top of {@link RecoveryTwin}: what leaves when, for `sender.trace` of page 08.
 * An item is what a packet carries; it may need several packets until one of them is acknowledged.
 */

import type { AckRange } from './acks.ts';
import type { Outcome, PacketName, RecoveryTwin } from './recovery.ts';

const CONTROL_HEADROOM_DATAGRAMS = 4;
/** Timers that may run between two events of a trace. */
const TIMERS_MAX = 10_000;

interface Item {
  readonly item: number;
  readonly space: number;
  readonly bytes: number;
}

export interface Transmission extends PacketName {
  readonly at: number;
  readonly item: number;
  readonly why: 'new' | 'again' | 'probe';
}

interface Waiting extends Item {
  readonly why: 'new' | 'again';
}

export class SenderTwin {
  readonly #recovery: RecoveryTwin;
  readonly #datagramBytes: number;
  /** What waits, by space: what is sent again stands before what is new. */
  readonly #queues: Waiting[][] = [[], []];
  /** What each packet in flight carries, oldest first. */
  readonly #carried = new Map<string, Item>();
  readonly #done = new Set<number>();
  #items = 0;
  readonly transmissions: Transmission[] = [];

  constructor(recovery: RecoveryTwin, datagramBytes: number) {
    this.#recovery = recovery;
    this.#datagramBytes = datagramBytes;
  }

  /** Lets time pass: every timer that ends up to `until` runs at its own time. */
  advance(until: number): void {
    for (let count = 0; count < TIMERS_MAX; count++) {
      const at = this.#recovery.timer;
      if (at === undefined || at > until) return;
      this.#settle(this.#recovery.onTimer(at), at);
      this.#send(at);
    }
    throw new Error('timers without end');
  }

  offer(at: number, space: number, count: number, bytes: number): void {
    for (let made = 0; made < count; made++) {
      this.#queues[space]!.push({ item: this.#items, space, bytes, why: 'new' });
      this.#items += 1;
    }
    this.#send(at);
  }

  acknowledge(at: number, space: number, ranges: readonly AckRange[], delay: number): void {
    this.#settle(this.#recovery.onAck(at, space, ranges, delay), at);
    this.#send(at);
  }

  #settle({ acked, lost, probe }: Outcome, at: number): void {
    for (const packet of acked) this.#done.add(this.#takeItem(packet).item);
    const again = lost.map((packet) => this.#takeItem(packet)).filter(({ item }) => !this.#done.has(item));
    for (const queue of this.#queues.keys()) {
      this.#queues[queue] = this.#queues[queue]!.filter(({ item }) => !this.#done.has(item));
    }
    // Two packets of one item may be lost together: it is sent again once, in the place of the first.
    const once = again.filter(({ item }, index) => again.findIndex((other) => other.item === item) === index);
    for (const item of once.reverse()) this.#sendAgain(item);
    if (probe === undefined) return;
    const oldest = [...this.#carried.values()].find(
      ({ item, space }) => space === probe && !this.#done.has(item),
    );
    if (oldest === undefined) return;
    // It goes out as the probe, whatever the window, and so no longer waits.
    this.#queues[probe] = this.#queues[probe]!.filter(({ item }) => item !== oldest.item);
    this.#transmit(at, oldest, 'probe');
  }

  #sendAgain(item: Item): void {
    const queue = this.#queues[item.space]!;
    if (queue.some((waiting) => waiting.item === item.item)) return;
    queue.unshift({ ...item, why: 'again' });
  }

  /** Control first [CC-3], then segments as far as the window goes [CC-1]. */
  #send(at: number): void {
    const [control, segments] = this.#queues as [Waiting[], Waiting[]];
    const headroom = CONTROL_HEADROOM_DATAGRAMS * this.#datagramBytes;
    while (control.length > 0 && this.#recovery.room + headroom > 0) this.#transmitNext(at, control);
    while (segments.length > 0 && this.#recovery.room >= segments[0]!.bytes) this.#transmitNext(at, segments);
    if (segments.length > 0) this.#recovery.onHeldBack();
  }

  #transmitNext(at: number, queue: Waiting[]): void {
    const { why, ...item } = queue.shift()!;
    this.#transmit(at, item, why);
  }

  #transmit(at: number, item: Item, why: Transmission['why']): void {
    const number = this.#recovery.onSent(at, item.space, item.bytes, false);
    this.#carried.set(`${item.space}:${number}`, item);
    this.transmissions.push({ at, space: item.space, number, item: item.item, why });
  }

  #takeItem({ space, number }: PacketName): Item {
    const name = `${space}:${number}`;
    const item = this.#carried.get(name)!;
    this.#carried.delete(name);
    return item;
  }
}
