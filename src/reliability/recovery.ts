/**
 * Loss recovery of the sending side: RFC 9002 sections 6 and 7 over two packet-number spaces.
 *
 * Keeps what was sent until it is acknowledged or lost, and calls its owner back with each
 * packet's contents. What those contents are, and how they are sent again, is the owner's matter.
 */

import { assert } from '../base/assert.ts';
import { mark } from '../base/marks.ts';
import { type Micros, micros, type PacketNumber } from '../base/units.ts';
import { PACKET_NUMBER_MAX } from '../wire/index.ts';
import type { CongestionController } from './congestion.ts';
import {
  BURST_BYTES_MAX,
  BURST_BYTES_MIN,
  BURST_MICROS,
  GRANULARITY_MICROS,
  PACKET_THRESHOLD,
  PTO_COUNT_MAX,
  PTO_MICROS_MAX,
  SENT_PACKETS_MAX,
  TIME_THRESHOLD_DENOMINATOR,
  TIME_THRESHOLD_NUMERATOR,
} from './limits.ts';
import { RttEstimator } from './rtt.ts';
import { SentPackets } from './sent-packets.ts';

export interface RecoveryOwner<Content> {
  onPacketAcked(space: number, content: Content): void;
  onPacketLost(space: number, content: Content): void;
}

/** Inclusive packet-number range, as in an ACK frame. */
export interface AckedRange {
  readonly first: number;
  readonly last: number;
}

const SPACES = 2;
/** Lost packets must span this many PTOs before congestion counts as persistent (RFC 9002 7.6.1). */
const PERSISTENT_CONGESTION_PTOS = 3;

class SentSpace<Content> {
  readonly packets = new SentPackets<Content>();
  nextNumber = 0;
  largestAcked = -1;
  /** Packets below were in flight when the window was full: their acknowledgement lets it grow. */
  limitedNumber = 0;
  /** When the oldest overtaken packet will count as lost. */
  lossAt: Micros | undefined;
  lastSentAt: Micros | undefined;
}

export class Recovery<Content> {
  readonly rtt = new RttEstimator();
  readonly #spaces: readonly [SentSpace<Content>, SentSpace<Content>] = [new SentSpace(), new SentSpace()];
  readonly #controller: CongestionController;
  readonly #owner: RecoveryOwner<Content>;
  /** Congestion window ceiling: what the peer's socket buffer holds [FLOW-7]. */
  readonly #windowBytesMax: number;
  #bytesInFlight = 0;
  #ptoCount = 0;
  #firstSampleAt: Micros | undefined;
  /** Bytes sent since the burst under way began; an acknowledgement ends it [CC-5]. */
  #burstBytes = 0;
  #burstStartedAt: Micros = micros(0);
  /** Whether the cap on bursts, and not the window, holds the sender back. */
  #burstHeld = false;

  constructor(controller: CongestionController, owner: RecoveryOwner<Content>, windowBytesMax: number) {
    this.#controller = controller;
    this.#owner = owner;
    this.#windowBytesMax = windowBytesMax;
  }

  get bytesInFlight(): number {
    return this.#bytesInFlight;
  }

  get ptoCount(): number {
    return this.#ptoCount;
  }

  get packetsInFlight(): number {
    return this.#spaces[0].packets.count + this.#spaces[1].packets.count;
  }

  /** Bytes that may be sent now under congestion control [CC-1]; without end below 0 at the packet maximum. */
  get roomBytes(): number {
    if (this.packetsInFlight >= SENT_PACKETS_MAX) return Number.NEGATIVE_INFINITY;
    const { windowBytes } = this;
    return Math.min(windowBytes - this.#bytesInFlight, burstBytesMax(windowBytes) - this.#burstBytes);
  }

  get windowBytes(): number {
    return Math.min(this.#controller.windowBytes, this.#windowBytesMax);
  }

  /** The sender had more to send than {@link roomBytes} let through [CC-10]. */
  onWindowLimited(): void {
    const { windowBytes } = this;
    if (burstBytesMax(windowBytes) - this.#burstBytes < windowBytes - this.#bytesInFlight) {
      mark('burst-capped');
      this.#burstHeld = true;
    }
    // Held back by the peer's buffer the window must not grow: it would soon stand for nothing.
    if (this.#controller.windowBytes > this.#windowBytesMax) return mark('window-at-buffer');
    for (const sent of this.#spaces) sent.limitedNumber = sent.nextNumber;
  }

  /** The next packet number of a space: each is used once [PKT-12]. */
  takeNumber(space: number): PacketNumber {
    const sent = this.#spaces[space]!;
    // The owner ends the session in time [PKT-17].
    assert(sent.nextNumber <= PACKET_NUMBER_MAX, 'packet numbers are used up');
    return sent.nextNumber++ as PacketNumber;
  }

  nextNumber(space: number): number {
    return this.#spaces[space]!.nextNumber;
  }

  /**
   * Records an ack-eliciting packet that has left. Others are not recorded. A probe of the datagram
   * size counts neither against the window nor, when lost, as congestion [MTU-6].
   */
  onPacketSent(
    now: Micros,
    space: number,
    number: PacketNumber,
    bytes: number,
    content: Content,
    isProbe = false,
  ): void {
    const sent = this.#spaces[space]!;
    assert(number === sent.nextNumber - 1, 'packet sent out of turn');
    const counted = isProbe ? 0 : bytes;
    sent.packets.push(number, now, counted, content, isProbe);
    sent.lastSentAt = now;
    this.#bytesInFlight += counted;
    if (now - this.#burstStartedAt >= BURST_MICROS) this.#startBurst(now);
    this.#burstBytes += counted;
  }

  /**
   * Takes the ranges of an ACK frame, highest first. Numbers that were never sent, or were
   * settled before, are passed over: the count of those never sent is returned.
   */
  onAckReceived(now: Micros, space: number, ranges: readonly AckedRange[], delayMicros: Micros): number {
    const sent = this.#spaces[space]!;
    const { packets } = sent;
    const newestSent = sent.nextNumber - 1;
    // Of the numbers named, the largest that was sent: segment numbers above it may be forged [ACK-7].
    let largest = -1;
    let unsent = 0;
    let newestSentAt: Micros | undefined;
    const before = packets.count;
    for (const { first, last } of ranges) {
      if (last > newestSent) unsent += last - Math.max(first, newestSent + 1) + 1;
      if (first > newestSent) continue;
      const lastSent = Math.min(last, newestSent);
      if (largest < 0) largest = lastSent;
      const sentAt = this.#acknowledge(now, space, first, lastSent);
      if (lastSent === largest) newestSentAt = sentAt;
    }
    if (packets.count === before) return unsent;
    sent.largestAcked = Math.max(sent.largestAcked, largest);
    // An RTT sample only from the newest packet, and only when it is newly acknowledged [REL-2].
    if (newestSentAt !== undefined) {
      this.rtt.update(micros(Math.max(1, now - newestSentAt)), delayMicros);
      this.#firstSampleAt ??= now;
    }
    packets.trim();
    this.#detectLost(now, space);
    this.#ptoCount = 0;
    this.#startBurst(now);
    return unsent;
  }

  /** When `onTimeout` is due, if anything is in flight. */
  timeoutAt(): Micros | undefined {
    let earliest: Micros | undefined = this.#burstHeld
      ? micros(this.#burstStartedAt + BURST_MICROS)
      : undefined;
    let hasLoss = false;
    for (const sent of this.#spaces) {
      if (sent.lossAt === undefined) continue;
      hasLoss = true;
      earliest = earlier(earliest, sent.lossAt);
    }
    if (hasLoss) return earliest;
    const backedOff = this.rtt.ptoMicros * 2 ** Math.min(this.#ptoCount, PTO_COUNT_MAX);
    const pto = Math.min(backedOff, PTO_MICROS_MAX);
    for (const sent of this.#spaces) {
      if (sent.packets.count > 0) earliest = earlier(earliest, micros(sent.lastSentAt! + pto));
    }
    return earliest;
  }

  /**
   * Handles the timer. Lost packets are handed to the owner. Returns the space that needs a probe
   * (at least one ack-eliciting packet, whatever the window), or undefined.
   */
  onTimeout(now: Micros): number | undefined {
    if (this.#burstHeld && now - this.#burstStartedAt >= BURST_MICROS) this.#startBurst(now);
    let detected = false;
    for (let space = 0; space < SPACES; space++) {
      const { lossAt } = this.#spaces[space]!;
      if (lossAt !== undefined && lossAt <= now) {
        this.#detectLost(now, space);
        detected = true;
      }
    }
    if (detected) return undefined;
    const due = this.timeoutAt();
    if (due === undefined || due > now) return undefined;
    let probe: number | undefined;
    let oldest: Micros | undefined;
    for (let space = 0; space < SPACES; space++) {
      const sent = this.#spaces[space]!;
      if (sent.packets.count > 0 && (oldest === undefined || sent.lastSentAt! < oldest)) {
        oldest = sent.lastSentAt;
        probe = space;
      }
    }
    if (probe !== undefined) {
      if (this.#ptoCount > 0) mark('pto-doubled');
      this.#ptoCount = Math.min(this.#ptoCount + 1, PTO_COUNT_MAX);
      this.#spaces[probe]!.lastSentAt = now;
    }
    return probe;
  }

  #startBurst(now: Micros): void {
    this.#burstBytes = 0;
    this.#burstStartedAt = now;
    this.#burstHeld = false;
  }

  /** Takes packets out of flight whose contents no longer matter to anyone. */
  forget(space: number, isStale: (content: Content) => boolean): void {
    const { packets } = this.#spaces[space]!;
    for (let at = packets.head; at < packets.tail; at++) {
      if (!packets.isInFlight(at) || !isStale(packets.contentAt(at))) continue;
      this.#bytesInFlight -= packets.bytesAt(at);
      packets.settle(at);
    }
    packets.compact();
  }

  /** The oldest unacknowledged contents of a space that `matter`: what a probe sends again [REL-11]. */
  oldest(space: number, matter: (content: Content) => boolean = () => true): Content | undefined {
    const { packets } = this.#spaces[space]!;
    for (let at = packets.head; at < packets.tail; at++) {
      if (packets.isInFlight(at) && matter(packets.contentAt(at))) return packets.contentAt(at);
    }
    return undefined;
  }

  /**
   * Settles what is in flight of `first` to `last`. Returns when `last` was sent if it is among
   * them. What left at one instant is told to the controller in one call.
   */
  #acknowledge(now: Micros, space: number, first: number, last: number): Micros | undefined {
    const { packets, limitedNumber } = this.#spaces[space]!;
    let lastSentAt: Micros | undefined;
    let sentAt = micros(0);
    let limited = false;
    let bytes = -1;
    const rtt = this.rtt.smoothedMicros;
    const { tail } = packets;
    for (let at = packets.positionOf(first); at < tail; at++) {
      const number = packets.numberAt(at);
      if (number > last) break;
      if (!packets.isInFlight(at)) continue;
      const packetSentAt = packets.sentAt(at);
      const packetBytes = packets.bytesAt(at);
      if (packetSentAt !== sentAt || number < limitedNumber !== limited || bytes < 0) {
        if (bytes >= 0) this.#controller.onAcked(now, sentAt, bytes, rtt, limited);
        sentAt = packetSentAt;
        limited = number < limitedNumber;
        bytes = 0;
      }
      bytes += packetBytes;
      this.#bytesInFlight -= packetBytes;
      if (number === last) lastSentAt = packetSentAt;
      this.#owner.onPacketAcked(space, packets.settle(at));
    }
    if (bytes >= 0) this.#controller.onAcked(now, sentAt, bytes, rtt, limited);
    return lastSentAt;
  }

  /** RFC 9002 6.1: lost by packet threshold, or by time. */
  #detectLost(now: Micros, space: number): void {
    const sent = this.#spaces[space]!;
    const { packets, largestAcked } = sent;
    sent.lossAt = undefined;
    if (packets.count === 0 || packets.numberAt(packets.head) > largestAcked) return;
    const rtt = Math.max(this.rtt.smoothedMicros, this.rtt.latestMicros);
    const lossDelay = Math.max(
      Math.ceil((rtt * TIME_THRESHOLD_NUMERATOR) / TIME_THRESHOLD_DENOMINATOR),
      GRANULARITY_MICROS,
    );
    let lost: LostSpan<Content> | undefined;
    for (let at = packets.head; at < packets.tail && packets.numberAt(at) <= largestAcked; at++) {
      if (!packets.isInFlight(at)) continue;
      const sentAt = packets.sentAt(at);
      const tooOld = sentAt + lossDelay <= now;
      if (!tooOld && packets.numberAt(at) > largestAcked - PACKET_THRESHOLD) {
        sent.lossAt = earlier(sent.lossAt, micros(sentAt + lossDelay));
        continue;
      }
      const isProbe = packets.isProbe(at);
      this.#bytesInFlight -= packets.bytesAt(at);
      lost ??= new LostSpan();
      lost.add(packets.numberAt(at), sentAt, isProbe, packets.settle(at));
      if (!isProbe) this.#controller.onLost(now, sentAt);
    }
    if (lost === undefined) return;
    packets.trim();
    if (this.#isPersistent(lost)) {
      mark('persistent-congestion');
      this.#controller.onPersistentCongestion();
    }
    for (const content of lost.contents) this.#owner.onPacketLost(space, content);
  }

  /** [REL-13] */
  #isPersistent({ contents, first, last, firstSentAt, lastSentAt, hasProbe }: LostSpan<Content>): boolean {
    if (hasProbe) return false;
    // Before the first sample nobody knows how long a PTO is (RFC 9002 7.6.2).
    if (this.#firstSampleAt === undefined || firstSentAt < this.#firstSampleAt) return false;
    // Contiguous numbers only: an acknowledged packet in between ends the span.
    if (last - first !== contents.length - 1) return false;
    return lastSentAt - firstSentAt > this.rtt.ptoMicros * PERSISTENT_CONGESTION_PTOS;
  }
}

/** The packets of one space that were found lost in one go, in the order of their numbers. */
class LostSpan<Content> {
  readonly contents: Content[] = [];
  first = 0;
  last = 0;
  firstSentAt: Micros = micros(0);
  lastSentAt: Micros = micros(0);
  hasProbe = false;

  add(number: number, sentAt: Micros, isProbe: boolean, content: Content): void {
    if (this.contents.length === 0) {
      this.first = number;
      this.firstSentAt = sentAt;
    }
    this.last = number;
    this.lastSentAt = sentAt;
    // Its loss says nothing about congestion (RFC 9000 14.4) [MTU-6].
    this.hasProbe ||= isProbe;
    this.contents.push(content);
  }
}

function earlier(left: Micros | undefined, right: Micros): Micros {
  return left === undefined || right < left ? right : left;
}

/** [CC-5] What may leave at once: half of the window, within limits. */
function burstBytesMax(windowBytes: number): number {
  return Math.min(BURST_BYTES_MAX, Math.max(BURST_BYTES_MIN, windowBytes / 2));
}
