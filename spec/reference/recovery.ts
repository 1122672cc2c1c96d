/**
 * The slow twin of the sending side of reliability: sections 4.2, 4.3 and 4.6, over a plain list of packets.
 * Times in us.
 */

import type { AckRange } from './acks.ts';
import { LanCubicTwin } from './lan-cubic.ts';

const PACKET_THRESHOLD = 3;
const GRANULARITY = 1_000;
const ACK_DELAY_MAX = 2_000;
const BACK_OFF_MAX = 10;
const PTO_MAX = 2_000_000;
const BURST_MICROS = 1_000;
const BURST_BYTES_MIN = 131_072;
const BURST_BYTES_MAX = 1_048_576;

/** Section 4.2. */
export class RoundTrip {
  smoothed = 10_000;
  deviation = 5_000;
  least = 0;
  latest = 0;
  #isSampled = false;

  sample(value: number, ackDelay: number): void {
    this.latest = value;
    if (!this.#isSampled) {
      // [REL-4]
      this.#isSampled = true;
      this.least = value;
      this.smoothed = value;
      this.deviation = value / 2;
      return;
    }
    this.least = Math.min(this.least, value);
    const delay = Math.min(ackDelay, ACK_DELAY_MAX);
    const adjusted = value - delay < this.least ? value : value - delay; // [REL-5]
    this.deviation = (3 * this.deviation + Math.abs(this.smoothed - adjusted)) / 4; // [REL-3]
    this.smoothed = (7 * this.smoothed + adjusted) / 8;
  }

  /** [REL-9] */
  get pto(): number {
    return Math.ceil(this.smoothed + Math.max(4 * this.deviation, GRANULARITY)) + ACK_DELAY_MAX;
  }
}

interface SentPacket {
  readonly space: number;
  readonly number: number;
  readonly at: number;
  readonly bytes: number;
  readonly isProbe: boolean;
  inUse: boolean;
}

export interface PacketName {
  readonly space: number;
  readonly number: number;
}

/** What came out of one event. */
export interface Outcome {
  readonly acked: PacketName[];
  readonly lost: PacketName[];
  /** Numbers that the ACK names and that were never sent. */
  unsent: number;
  /** The space that needs a probe packet now [REL-11]. */
  probe: number | undefined;
}

export class RecoveryTwin {
  readonly rtt = new RoundTrip();
  readonly #controller: LanCubicTwin;
  readonly #peerWindow: number;
  #inFlight: SentPacket[] = [];
  readonly #next = [0, 0];
  readonly #largestAcked = [-1, -1];
  readonly #lossAt: (number | undefined)[] = [undefined, undefined];
  readonly #lastSentAt = [0, 0];
  #backOff = 0;
  #firstSampleAt: number | undefined;
  #burstAt = 0;
  #burstBytes = 0;
  #burstHolds = false;

  constructor(datagramBytes: number, peerWindow: number) {
    this.#controller = new LanCubicTwin(datagramBytes);
    this.#peerWindow = peerWindow;
  }

  get window(): number {
    return Math.min(this.#controller.window, this.#peerWindow);
  }

  get bytesInFlight(): number {
    return this.#inFlight.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Bytes that may leave now [CC-1] [CC-5]. */
  get room(): number {
    return Math.min(this.window - this.bytesInFlight, this.#burstRoom);
  }

  set datagramBytes(bytes: number) {
    this.#controller.datagramBytes = bytes;
  }

  /** An ack-eliciting packet leaves; returns its number. */
  onSent(now: number, space: number, bytes: number, isProbe: boolean): number {
    const number = this.#next[space]!;
    this.#next[space] = number + 1;
    const counted = isProbe ? 0 : bytes; // [MTU-6]
    this.#inFlight.push({ space, number, at: now, bytes: counted, isProbe, inUse: false });
    this.#lastSentAt[space] = now;
    if (now - this.#burstAt >= BURST_MICROS) this.#startBurst(now);
    this.#burstBytes += counted;
    return number;
  }

  /** There was more to send than {@link room} allows. */
  onHeldBack(): void {
    if (this.#burstRoom < this.window - this.bytesInFlight) this.#burstHolds = true;
    if (this.#controller.window > this.#peerWindow) return;
    for (const packet of this.#inFlight) packet.inUse = true;
  }

  onAck(now: number, space: number, ranges: readonly AckRange[], ackDelay: number): Outcome {
    const outcome = nothing();
    const newest = this.#next[space]! - 1;
    const { smoothed } = this.rtt;
    let named = -1;
    let sampleFrom: number | undefined;
    for (const { first, last } of ranges) {
      outcome.unsent += Math.max(0, last - Math.max(first - 1, newest)); // [ACK-7]
      const highest = Math.min(last, newest);
      if (first > highest) continue;
      named = Math.max(named, highest);
      const acked = this.#take(
        (packet) => packet.space === space && first <= packet.number && packet.number <= highest,
      );
      for (const group of together(acked)) {
        const { at, inUse } = group[0]!;
        const bytes = group.reduce((sum, packet) => sum + packet.bytes, 0);
        this.#controller.onAcked(now, at, bytes, smoothed, inUse);
      }
      outcome.acked.push(...acked.map(({ number }) => ({ space, number })));
      sampleFrom ??= acked.find(({ number }) => number === named)?.at;
    }
    if (outcome.acked.length === 0) return outcome;
    this.#largestAcked[space] = Math.max(this.#largestAcked[space]!, named);
    if (sampleFrom !== undefined) {
      this.rtt.sample(Math.max(1, now - sampleFrom), ackDelay); // [REL-2]
      this.#firstSampleAt ??= now;
    }
    outcome.lost.push(...this.#detectLost(now, space));
    this.#backOff = 0;
    this.#startBurst(now);
    return outcome;
  }

  /** When {@link onTimer} is due, or undefined. */
  get timer(): number | undefined {
    const times: number[] = [];
    if (this.#burstHolds) times.push(this.#burstAt + BURST_MICROS);
    const losses = this.#lossAt.filter((at) => at !== undefined);
    times.push(...losses);
    if (losses.length === 0) {
      const pto = Math.min(this.rtt.pto * 2 ** Math.min(this.#backOff, BACK_OFF_MAX), PTO_MAX); // [REL-10]
      for (const space of this.#spacesInFlight()) times.push(this.#lastSentAt[space]! + pto);
    }
    return times.length === 0 ? undefined : Math.min(...times);
  }

  onTimer(now: number): Outcome {
    const outcome = nothing();
    if (this.#burstHolds && now - this.#burstAt >= BURST_MICROS) this.#startBurst(now);
    const late = [0, 1].filter((space) => (this.#lossAt[space] ?? Number.POSITIVE_INFINITY) <= now);
    for (const space of late) outcome.lost.push(...this.#detectLost(now, space));
    const due = this.timer;
    if (late.length > 0 || due === undefined || due > now) return outcome;
    const spaces = this.#spacesInFlight().sort(
      (left, right) => this.#lastSentAt[left]! - this.#lastSentAt[right]!,
    );
    const probe = spaces[0];
    if (probe !== undefined) {
      this.#backOff = Math.min(this.#backOff + 1, BACK_OFF_MAX);
      this.#lastSentAt[probe] = now;
    }
    return { ...outcome, probe };
  }

  get #burstRoom(): number {
    const most = Math.min(BURST_BYTES_MAX, Math.max(BURST_BYTES_MIN, this.window / 2));
    return most - this.#burstBytes;
  }

  #startBurst(now: number): void {
    this.#burstAt = now;
    this.#burstBytes = 0;
    this.#burstHolds = false;
  }

  #spacesInFlight(): number[] {
    return [0, 1].filter((space) => this.#inFlight.some((packet) => packet.space === space));
  }

  /** Takes packets out of flight, by rising number. */
  #take(isTaken: (packet: SentPacket) => boolean): SentPacket[] {
    const taken = this.#inFlight.filter(isTaken);
    this.#inFlight = this.#inFlight.filter((packet) => !isTaken(packet));
    return taken.sort((left, right) => left.number - right.number);
  }

  /** [REL-6] [REL-7] */
  #detectLost(now: number, space: number): PacketName[] {
    const largest = this.#largestAcked[space]!;
    const wait = Math.max(Math.ceil((Math.max(this.rtt.smoothed, this.rtt.latest) * 9) / 8), GRANULARITY);
    const lost = this.#take(
      (packet) =>
        packet.space === space &&
        packet.number <= largest &&
        (packet.number <= largest - PACKET_THRESHOLD || packet.at + wait <= now),
    );
    const overtaken = this.#inFlight.filter((packet) => packet.space === space && packet.number <= largest);
    this.#lossAt[space] =
      overtaken.length === 0 ? undefined : Math.min(...overtaken.map((packet) => packet.at + wait));
    for (const { at, isProbe } of lost) if (!isProbe) this.#controller.onLost(now, at);
    if (this.#isPersistent(lost)) this.#controller.onPersistentCongestion();
    return lost.map(({ number }) => ({ space, number }));
  }

  #isPersistent(lost: readonly SentPacket[]): boolean {
    const first = lost[0];
    const last = lost.at(-1);
    if (first === undefined || last === undefined || lost.some(({ isProbe }) => isProbe)) return false;
    if (this.#firstSampleAt === undefined || first.at < this.#firstSampleAt) return false;
    if (last.number - first.number !== lost.length - 1) return false;
    return last.at - first.at > 3 * this.rtt.pto;
  }
}

function nothing(): Outcome {
  return { acked: [], lost: [], unsent: 0, probe: undefined };
}

/** Neighbours that left at one instant and were in use alike. */
function together(packets: readonly SentPacket[]): SentPacket[][] {
  const groups: SentPacket[][] = [];
  for (const packet of packets) {
    const before = groups.at(-1)?.[0];
    if (before?.at === packet.at && before.inUse === packet.inUse) groups.at(-1)!.push(packet);
    else groups.push([packet]);
  }
  return groups;
}
