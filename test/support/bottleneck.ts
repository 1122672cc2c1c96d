/**
 * Senders that share one link with a queue of finite bytes that drops at its tail, in virtual time:
 * `Recovery` and a controller at one end, an `AckTracker` at the other, and nothing else of a
 * session. For what congestion control does over seconds, at a hundredth of a session's cost.
 */

import { Random } from '../../sim/random.ts';
import { type Micros, micros } from '../../src/base/units.ts';
import { AckTracker, type CongestionController, Recovery } from '../../src/reliability/index.ts';
import { ACK_RANGES_MAX } from '../../src/wire/index.ts';

export const DATAGRAM_BYTES = 1_472;
const SPACE = 1;
const EVENTS_MAX = 20_000_000;

export interface BottleneckOptions {
  readonly seed?: number;
  readonly bytesPerSecond: number;
  readonly queueBytes: number;
  /** One way, without queueing. */
  readonly delayMicros: number;
  /** Of each datagram by itself, whatever the queue. */
  readonly lossProbability?: number;
  /** The receiver looks at its socket this often: how an event loop batches acknowledgements. */
  readonly loopMicros?: number;
  /** The peer's window bytes [FLOW-7]. */
  readonly windowBytesMax?: number;
}

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

export class SimulatedSender {
  readonly controller: CongestionController;
  readonly recovery: Recovery<number>;
  readonly acks = new AckTracker(ACK_RANGES_MAX);
  ackedPackets = 0;
  sentPackets = 0;
  lostPackets = 0;
  /** Datagrams that the full queue refused, of those sent. */
  overflows = 0;
  active = false;
  loopAt = Number.POSITIVE_INFINITY;
  timerAt = Number.POSITIVE_INFINITY;

  constructor(controller: CongestionController, windowBytesMax: number) {
    this.controller = controller;
    this.recovery = new Recovery<number>(
      controller,
      {
        onPacketAcked: () => {
          this.ackedPackets += 1;
        },
        onPacketLost: () => {
          this.lostPackets += 1;
        },
      },
      windowBytesMax,
    );
  }
}

export class Bottleneck {
  now = 0;
  readonly senders: SimulatedSender[] = [];
  readonly #options: Required<BottleneckOptions>;
  readonly #random: Random;
  readonly #events: Event[] = [];
  #order = 0;
  #freeAt = 0;
  /** The longest that a datagram waited in the queue. */
  queueMicrosMax = 0;

  constructor(options: BottleneckOptions) {
    this.#options = {
      seed: 1,
      lossProbability: 0,
      loopMicros: 20,
      windowBytesMax: 4 * 1024 * 1024,
      ...options,
    };
    this.#random = new Random(this.#options.seed);
  }

  add(controller: CongestionController, startAt = 0): SimulatedSender {
    controller.setDatagramBytes(DATAGRAM_BYTES);
    const sender = new SimulatedSender(controller, this.#options.windowBytesMax);
    this.senders.push(sender);
    this.#at(startAt, () => {
      sender.active = true;
      this.#send(sender);
    });
    return sender;
  }

  /** Stops a sender for a while: its application has nothing to send. */
  pause(sender: SimulatedSender, untilAt: number): void {
    sender.active = false;
    this.#at(untilAt, () => {
      sender.active = true;
      this.#send(sender);
    });
  }

  /** Lets time pass. Counters start anew at its beginning. */
  run(spanMicros: number): void {
    const end = this.now + spanMicros;
    this.queueMicrosMax = 0;
    for (const sender of this.senders) {
      sender.ackedPackets = 0;
      sender.sentPackets = 0;
      sender.lostPackets = 0;
      sender.overflows = 0;
    }
    for (let steps = 0; ; steps++) {
      if (steps > EVENTS_MAX) throw new Error('the simulation does not end');
      const event = this.#events[0];
      if (event === undefined || event.at > end) break;
      this.#pop();
      this.now = event.at;
      event.run();
    }
    this.now = end;
  }

  /** Share of the link's rate that arrived of all senders in the last run of `spanMicros`. */
  share(spanMicros: number, senders: readonly SimulatedSender[] = this.senders): number {
    const bytes = senders.reduce((sum, sender) => sum + sender.ackedPackets, 0) * DATAGRAM_BYTES;
    return bytes / ((this.#options.bytesPerSecond * spanMicros) / 1_000_000);
  }

  #send(sender: SimulatedSender): void {
    const { recovery } = sender;
    while (sender.active && recovery.roomBytes >= DATAGRAM_BYTES) this.#sendOne(sender);
    if (sender.active) recovery.onWindowLimited();
    this.#arm(sender);
  }

  #sendOne(sender: SimulatedSender): void {
    const { bytesPerSecond, queueBytes, delayMicros, lossProbability } = this.#options;
    const number = sender.recovery.takeNumber(SPACE);
    sender.recovery.onPacketSent(micros(Math.round(this.now)), SPACE, number, DATAGRAM_BYTES, number);
    sender.sentPackets += 1;
    const start = Math.max(this.#freeAt, this.now);
    const waitingBytes = ((start - this.now) * bytesPerSecond) / 1_000_000;
    if (waitingBytes + DATAGRAM_BYTES > queueBytes) {
      sender.overflows += 1;
      return;
    }
    this.queueMicrosMax = Math.max(this.queueMicrosMax, start - this.now);
    this.#freeAt = start + (DATAGRAM_BYTES * 1_000_000) / bytesPerSecond;
    if (this.#random.chance(lossProbability)) return;
    this.#at(this.#freeAt + delayMicros, () => this.#arrive(sender, number));
  }

  #arrive(sender: SimulatedSender, number: number): void {
    sender.acks.onReceived(micros(Math.round(this.now)), number, true);
    this.#wake(sender);
  }

  /** Sets the receiver's next look at its socket. */
  #wake(sender: SimulatedSender): void {
    const { loopMicros } = this.#options;
    const loop = Math.ceil((this.now + 1) / loopMicros) * loopMicros;
    const at = Math.max(loop, sender.acks.dueAt ?? loop);
    if (at >= sender.loopAt && sender.loopAt > this.now) return;
    sender.loopAt = at;
    this.#at(at, () => {
      if (sender.loopAt !== at) return;
      sender.loopAt = Number.POSITIVE_INFINITY;
      this.#acknowledge(sender);
    });
  }

  #acknowledge(sender: SimulatedSender): void {
    const { acks } = sender;
    if (acks.dueAt === undefined) return;
    if (acks.dueAt > this.now) return this.#wake(sender);
    const ranges = acks.ranges();
    const delay = acks.delayMicros(micros(Math.round(this.now)));
    const { largest } = acks;
    acks.onAckSent();
    this.#at(this.now + this.#options.delayMicros, () => {
      sender.recovery.onAckReceived(micros(Math.round(this.now)), SPACE, ranges, delay as Micros);
      // As a CREDIT beside it would bring about.
      acks.onAckAcked(largest);
      this.#send(sender);
    });
  }

  #arm(sender: SimulatedSender): void {
    const at = sender.recovery.timeoutAt();
    if (at === undefined || (at >= sender.timerAt && sender.timerAt > this.now)) return;
    sender.timerAt = at;
    this.#at(at, () => {
      if (sender.timerAt !== at) return;
      sender.timerAt = Number.POSITIVE_INFINITY;
      const due = sender.recovery.timeoutAt();
      if (due !== undefined && due <= this.now) {
        const probe = sender.recovery.onTimeout(micros(Math.round(this.now)));
        if (probe !== undefined) this.#sendOne(sender);
      }
      this.#send(sender);
    });
  }

  #at(at: number, run: () => void): void {
    const event = { at: Math.max(at, this.now), order: this.#order++, run };
    const events = this.#events;
    let index = events.length;
    events.push(event);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!isBefore(event, events[parent]!)) break;
      events[index] = events[parent]!;
      index = parent;
    }
    events[index] = event;
  }

  #pop(): void {
    const events = this.#events;
    const last = events.pop()!;
    if (events.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= events.length) break;
      if (child + 1 < events.length && isBefore(events[child + 1]!, events[child]!)) child += 1;
      if (!isBefore(events[child]!, last)) break;
      events[index] = events[child]!;
      index = child;
    }
    events[index] = last;
  }
}

function isBefore(left: Event, right: Event): boolean {
  return left.at < right.at || (left.at === right.at && left.order < right.order);
}

/** Jain's index: 1 when all have the same, 1/n when one has all. */
export function fairness(values: readonly number[]): number {
  const sum = values.reduce((total, value) => total + value, 0);
  const squares = values.reduce((total, value) => total + value * value, 0);
  return squares === 0 ? 1 : (sum * sum) / (values.length * squares);
}
