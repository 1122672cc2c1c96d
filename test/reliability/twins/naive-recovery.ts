/**
 * The plainly written twin of `Recovery`: a map entry and an object a packet, RFC 9002 appendix A
 * read aloud. It tells the controller of every packet by itself.
 */

import { assert } from '../../../src/base/assert.ts';
import { type Micros, micros, type PacketNumber } from '../../../src/base/units.ts';
import {
  type AckedRange,
  BURST_BYTES_MAX,
  BURST_BYTES_MIN,
  BURST_MICROS,
  type CongestionController,
  GRANULARITY_MICROS,
  PACKET_THRESHOLD,
  PTO_COUNT_MAX,
  PTO_MICROS_MAX,
  type RecoveryOwner,
  RttEstimator,
  SENT_PACKETS_MAX,
  TIME_THRESHOLD_DENOMINATOR,
  TIME_THRESHOLD_NUMERATOR,
} from '../../../src/reliability/index.ts';
import { PACKET_NUMBER_MAX } from '../../../src/wire/index.ts';

interface SentPacket<Content> {
  readonly number: PacketNumber;
  readonly sentAt: Micros;
  readonly bytes: number;
  readonly content: Content;
  /** Whether it probes a datagram size: its loss says nothing about congestion (RFC 9000 14.4) [MTU-6]. */
  readonly isProbe: boolean;
}

const SPACES = 2;
/** Lost packets must span this many PTOs before congestion counts as persistent (RFC 9002 7.6.1). */
const PERSISTENT_CONGESTION_PTOS = 3;

class SentSpace<Content> {
  readonly packets = new Map<number, SentPacket<Content>>();
  nextNumber = 0;
  limitedNumber = 0;
  largestAcked = -1;
  /** When the oldest overtaken packet will count as lost. */
  lossAt: Micros | undefined;
  lastSentAt: Micros | undefined;
}

export class NaiveRecovery<Content> {
  readonly rtt = new RttEstimator();
  readonly #spaces: readonly SentSpace<Content>[] = Array.from(
    { length: SPACES },
    () => new SentSpace<Content>(),
  );
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
    return this.#spaces.reduce((sum, space) => sum + space.packets.size, 0);
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

  /** The sender had more to send than {@link roomBytes} let through. */
  onWindowLimited(): void {
    const { windowBytes } = this;
    if (burstBytesMax(windowBytes) - this.#burstBytes < windowBytes - this.#bytesInFlight)
      this.#burstHeld = true;
    // Held back by the peer's buffer the window must not grow: it would soon stand for nothing.
    if (this.#controller.windowBytes > this.#windowBytesMax) return;
    for (const sent of this.#spaces) sent.limitedNumber = sent.nextNumber;
  }

  /** The next packet number of a space: each is used once [PKT-12]. */
  takeNumber(space: number): PacketNumber {
    const sent = this.#spaces[space]!;
    // [PKT-17] Out of reach: 2^48 packets take years.
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
    sent.packets.set(number, { number, sentAt: now, bytes: counted, content, isProbe });
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
    // Of the numbers named, the largest that was sent: segment numbers above it may be forged [ACK-7].
    let largest = -1;
    let unsent = 0;
    let newest: SentPacket<Content> | undefined;
    let anyAcked = false;
    for (const range of ranges) {
      if (largest < 0 && range.first < sent.nextNumber) largest = Math.min(range.last, sent.nextNumber - 1);
      if (range.last >= sent.nextNumber) unsent += range.last - Math.max(range.first, sent.nextNumber) + 1;
      for (const packet of this.#acknowledge(sent, range)) {
        anyAcked = true;
        if (packet.number === largest) newest = packet;
        const limited = packet.number < sent.limitedNumber;
        this.#controller.onAcked(now, packet.sentAt, packet.bytes, this.rtt.smoothedMicros, limited);
        this.#owner.onPacketAcked(space, packet.content);
      }
    }
    if (!anyAcked) return unsent;
    sent.largestAcked = Math.max(sent.largestAcked, largest);
    // An RTT sample only from the newest packet, and only when it is newly acknowledged [REL-2].
    if (newest !== undefined) {
      this.rtt.update(micros(Math.max(1, now - newest.sentAt)), delayMicros);
      this.#firstSampleAt ??= now;
    }
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
      if (sent.packets.size > 0) earliest = earlier(earliest, micros(sent.lastSentAt! + pto));
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
      if (sent.packets.size > 0 && (oldest === undefined || sent.lastSentAt! < oldest)) {
        oldest = sent.lastSentAt;
        probe = space;
      }
    }
    if (probe !== undefined) {
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
    const sent = this.#spaces[space]!;
    for (const packet of sent.packets.values()) {
      if (!isStale(packet.content)) continue;
      sent.packets.delete(packet.number);
      this.#bytesInFlight -= packet.bytes;
    }
  }

  /** The oldest unacknowledged contents of a space that `matter`: what a probe sends again [REL-11]. */
  oldest(space: number, matter: (content: Content) => boolean = () => true): Content | undefined {
    for (const { content } of this.#spaces[space]!.packets.values()) if (matter(content)) return content;
    return undefined;
  }

  #acknowledge(sent: SentSpace<Content>, range: AckedRange): SentPacket<Content>[] {
    const found: SentPacket<Content>[] = [];
    if (sent.packets.size === 0) return found;
    const take = (packet: SentPacket<Content>): void => {
      sent.packets.delete(packet.number);
      this.#bytesInFlight -= packet.bytes;
      found.push(packet);
    };
    // Walk whichever is shorter: the range or what is in flight. Both are bounded by SENT_PACKETS_MAX.
    const last = Math.min(range.last, sent.nextNumber - 1);
    if (last - range.first < sent.packets.size) {
      for (let number = range.first; number <= last; number++) {
        const packet = sent.packets.get(number);
        if (packet !== undefined) take(packet);
      }
    } else {
      for (const packet of sent.packets.values()) {
        if (packet.number > last) break;
        if (packet.number >= range.first) take(packet);
      }
    }
    return found;
  }

  /** RFC 9002 6.1: lost by packet threshold, or by time. */
  #detectLost(now: Micros, space: number): void {
    const sent = this.#spaces[space]!;
    sent.lossAt = undefined;
    const rtt = Math.max(this.rtt.smoothedMicros, this.rtt.latestMicros);
    const lossDelay = Math.max(
      Math.ceil((rtt * TIME_THRESHOLD_NUMERATOR) / TIME_THRESHOLD_DENOMINATOR),
      GRANULARITY_MICROS,
    );
    const lost: SentPacket<Content>[] = [];
    for (const packet of sent.packets.values()) {
      if (packet.number > sent.largestAcked) break;
      const tooOld = packet.sentAt + lossDelay <= now;
      if (tooOld || packet.number <= sent.largestAcked - PACKET_THRESHOLD) lost.push(packet);
      else sent.lossAt = earlier(sent.lossAt, micros(packet.sentAt + lossDelay));
    }
    for (const packet of lost) {
      sent.packets.delete(packet.number);
      this.#bytesInFlight -= packet.bytes;
      if (!packet.isProbe) this.#controller.onLost(now, packet.sentAt);
    }
    this.#checkPersistentCongestion(lost);
    for (const packet of lost) this.#owner.onPacketLost(space, packet.content);
  }

  #checkPersistentCongestion(lost: readonly SentPacket<Content>[]): void {
    const first = lost[0];
    const last = lost[lost.length - 1];
    if (first === undefined || last === undefined || lost.some((packet) => packet.isProbe)) return;
    // Before the first sample nobody knows how long a PTO is (RFC 9002 7.6.2).
    if (this.#firstSampleAt === undefined || first.sentAt < this.#firstSampleAt) return;
    // Contiguous numbers only: an acknowledged packet in between ends the span.
    if (last.number - first.number !== lost.length - 1) return;
    if (last.sentAt - first.sentAt > this.rtt.ptoMicros * PERSISTENT_CONGESTION_PTOS) {
      this.#controller.onPersistentCongestion();
    }
  }
}

function earlier(left: Micros | undefined, right: Micros): Micros {
  return left === undefined || right < left ? right : left;
}

/** [CC-5] What may leave at once: half of the window, within limits. */
function burstBytesMax(windowBytes: number): number {
  return Math.min(BURST_BYTES_MAX, Math.max(BURST_BYTES_MIN, windowBytes / 2));
}
