/**
 * The sending side of a session: lays frames and segments out in datagrams as congestion control
 * allows, keeps them until they are acknowledged, and sends again what was lost.
 *
 * What waits is in `outbox.ts` and `flows.ts`; when the session ends is `session.ts`'s matter.
 */

import { type Micros, micros } from '../base/units.ts';
import { AEAD_TAG_BYTES } from '../crypto/index.ts';
import { type AckTracker, LanCubic, MtuProbe, Recovery } from '../reliability/index.ts';
import {
  ACK_DELAY_UNIT_MICROS,
  type AckFrame,
  DATAGRAM_BYTES_MIN,
  type Frame,
  FrameType,
  isAckEliciting,
  PACKET_BYTES_MAX,
  PACKET_NUMBER_MAX,
  RECORD_BYTES_MAX,
  RECORD_HEADER_BYTES,
  SEALED_HEADER_BYTES,
  SEGMENT_HEADER_BYTES,
  type SessionTag,
  Space,
  writeSegmentHeader,
} from '../wire/index.ts';
import type { ControlSealer } from './control-sealer.ts';
import type { FlowTable } from './flows.ts';
import {
  CLOSING_PACKETS,
  CONTROL_HEADROOM_DATAGRAMS,
  DATAGRAM_SIZES,
  SEGMENT_PAYLOAD_MIN,
  TRANSMIT_SEGMENTS_MAX,
  WHOLE_RECORD_BYTES_MIN,
} from './limits.ts';
import { Outbox } from './outbox.ts';
import type { SessionCounts, SessionParameters, Transmit } from './parameters.ts';
import type { SegmentContent } from './send-flow.ts';

/** One tracker a space, by the space's number. */
export type AckTrackers = readonly [AckTracker, AckTracker];

export interface TransmitterOptions {
  readonly now: Micros;
  readonly local: SessionParameters;
  readonly peer: SessionParameters;
  readonly peerTag: SessionTag;
  readonly sealer: ControlSealer;
  readonly acks: AckTrackers;
  readonly outbox: Outbox;
  readonly flows: FlowTable;
  readonly counts: SessionCounts;
  readonly packetNumberLimit: number | undefined;
}

interface ControlContent {
  /** Frames that are sent again when the packet is lost. */
  readonly frames: readonly Frame[];
  /** Largest number acknowledged by this packet's ACK frames, by space. */
  readonly acked: readonly (readonly [Space, number])[];
  /** Set when the packet probed this datagram size. */
  readonly probeBytes: number | undefined;
  readonly epochBits: number;
}

type Content = ControlContent | SegmentContent;

export class Transmitter {
  readonly #peerTag: SessionTag;
  readonly #sealer: ControlSealer;
  readonly #acks: AckTrackers;
  readonly #outbox: Outbox;
  readonly #flows: FlowTable;
  readonly #counts: SessionCounts;
  readonly #controller = new LanCubic(DATAGRAM_BYTES_MIN);
  readonly #recovery: Recovery<Content>;
  readonly #mtu: MtuProbe;
  readonly #packetNumberLimit: number;
  /** Segments that may leave whatever the window says: probes of a timeout. */
  #segmentProbes = 0;
  /** The time of the call under way: callbacks have no argument for it. */
  #now: Micros;

  constructor(options: TransmitterOptions) {
    const { local, peer } = options;
    this.#now = options.now;
    this.#peerTag = options.peerTag;
    this.#sealer = options.sealer;
    this.#acks = options.acks;
    this.#outbox = options.outbox;
    this.#flows = options.flows;
    this.#counts = options.counts;
    this.#packetNumberLimit = options.packetNumberLimit ?? PACKET_NUMBER_MAX - CLOSING_PACKETS;
    this.#recovery = new Recovery<Content>(
      this.#controller,
      {
        onPacketAcked: (space, content) => this.#onPacketAcked(space, content),
        onPacketLost: (space, content) => this.#onPacketLost(space, content),
      },
      Math.max(peer.windowBytes, 2 * DATAGRAM_BYTES_MIN),
    );
    const datagramBytesMax = Math.min(peer.datagramBytesMax, local.datagramBytesMax);
    // Two datagrams must fit the peer's socket buffer, or the window would never open.
    const sizes = DATAGRAM_SIZES.filter((size) => size <= datagramBytesMax && 2 * size <= peer.windowBytes);
    this.#mtu = new MtuProbe(sizes.length > 0 ? sizes : [DATAGRAM_BYTES_MIN], options.now);
  }

  get rttMicros(): Micros {
    return this.#recovery.rtt.smoothedMicros;
  }

  get ptoMicros(): Micros {
    return this.#recovery.rtt.ptoMicros;
  }

  get datagramBytes(): number {
    return this.#mtu.datagramBytes;
  }

  /** Plaintext bytes of a record that fills a datagram where those are large, else the most there may be. */
  get recordBytes(): number {
    const fitting = this.datagramBytes - SEGMENT_HEADER_BYTES - AEAD_TAG_BYTES - RECORD_HEADER_BYTES;
    return fitting < WHOLE_RECORD_BYTES_MIN ? RECORD_BYTES_MAX : Math.min(fitting, RECORD_BYTES_MAX);
  }

  /** Whether the keys have sealed as often as they may [KEY-13], or a space is out of numbers [PKT-17]. */
  get wornOut(): boolean {
    const next = Math.max(this.#recovery.nextNumber(0), this.#recovery.nextNumber(1));
    return this.#sealer.wornOut || next >= this.#packetNumberLimit;
  }

  get packetsInFlight(): number {
    return this.#recovery.packetsInFlight;
  }

  /** When `onTimeout` or `poll` has something to do of itself. `live` says that the peer is there. */
  timeoutAt(live: boolean): Micros | undefined {
    let next = this.#recovery.timeoutAt();
    const consider = (at: Micros | undefined): void => {
      if (at !== undefined && (next === undefined || at < next)) next = at;
    };
    for (const acks of this.#acks) consider(acks.dueAt);
    if (this.#mayProbe(live)) consider(this.#mtu.timeoutAt());
    return next;
  }

  onTimeout(now: Micros): void {
    this.#now = now;
    const at = this.#recovery.timeoutAt();
    if (at !== undefined && at <= now) this.#onRecoveryTimeout(now);
  }

  /** Takes an ACK frame; returns how many numbers it names that were never sent. */
  onAck(now: Micros, frame: AckFrame): number {
    this.#now = now;
    const delay = micros(frame.delayUnits * ACK_DELAY_UNIT_MICROS);
    return this.#recovery.onAckReceived(now, frame.space, frame.ranges, delay);
  }

  /** Writes what may leave now into `buffer`; undefined when nothing may. */
  poll(now: Micros, live: boolean, buffer: Uint8Array): Transmit | undefined {
    this.#now = now;
    this.#sealer.updateWhenDue(now, (epochBits) => this.#flows.hasRecordsOutside(epochBits));
    const probe = this.#mayProbe(live) ? this.#writeProbe(now, buffer) : undefined;
    if (probe !== undefined) return this.#count(probe);
    const segmentBytes = this.#mtu.datagramBytes;
    let at = 0;
    for (let sent = 0; sent < TRANSMIT_SEGMENTS_MAX && at + segmentBytes <= buffer.length; sent++) {
      const bytes = this.#writeDatagram(now, buffer, at, segmentBytes);
      if (bytes === 0) break;
      at += bytes;
      if (bytes < segmentBytes) break;
    }
    return at === 0 ? undefined : this.#count({ bytes: at, segmentBytes });
  }

  /** Writes a packet with this frame alone, which is never sent again of itself [SES-15]. */
  writeAlone(frame: Frame, buffer: Uint8Array): Transmit {
    const number = this.#recovery.takeNumber(Space.CONTROL);
    const bytes = this.#sealer.write(number, [frame], buffer, 0);
    return this.#count({ bytes, segmentBytes: bytes });
  }

  // ---------------------------------------------------------------- recovery

  #onPacketAcked(space: number, content: Content): void {
    if (space === Space.SEGMENT) {
      const segment = content as SegmentContent;
      segment.flow.onSegmentAcked(segment);
      if (segment.isInLarge) this.#mtu.onLargeAcked();
      return;
    }
    const control = content as ControlContent;
    this.#sealer.onAcked(control.epochBits);
    for (const [ackedSpace, largest] of control.acked) this.#acks[ackedSpace].onAckAcked(largest);
    if (control.probeBytes !== undefined) {
      this.#mtu.onProbeAcked(this.#now, control.probeBytes);
      this.#controller.setDatagramBytes(this.#mtu.datagramBytes);
    }
  }

  #onPacketLost(space: number, content: Content): void {
    if (space === Space.SEGMENT) {
      const segment = content as SegmentContent;
      segment.flow.onSegmentLost(segment);
      if (segment.isInLarge) this.#onLargeLost();
      return;
    }
    const control = content as ControlContent;
    if (control.probeBytes !== undefined) this.#mtu.onProbeLost(this.#now);
    this.#sendAgain(control);
  }

  #onLargeLost(): void {
    if (this.#mtu.onLargeLost(this.#now)) this.#controller.setDatagramBytes(this.#mtu.datagramBytes);
  }

  /** [REL-8] The frames of a lost packet go out again, CREDIT with the values of then [FRM-9]. */
  #sendAgain(control: ControlContent): void {
    for (const frame of control.frames) {
      if (frame.type === FrameType.CREDIT) this.#flows.onCreditLost(frame);
      else this.#outbox.pushAgain(frame);
    }
  }

  #onRecoveryTimeout(now: Micros): void {
    const space = this.#recovery.onTimeout(now);
    if (space === undefined) return;
    if (space === Space.SEGMENT) {
      // Segments of flows that have ended are nobody's concern: they leave the flight [REL-12].
      this.#recovery.forget(space, (content) => {
        const segment = content as SegmentContent;
        return this.#flows.sending.get(segment.flow.id) !== segment.flow || !segment.flow.isCurrent(segment);
      });
      const oldest = this.#recovery.oldest(space) as SegmentContent | undefined;
      if (oldest === undefined) return;
      // Where nothing large arrives, nothing is ever acknowledged: timeouts are the only sign [MTU-5].
      if (oldest.isInLarge) this.#onLargeLost();
      oldest.flow.onSegmentLost(oldest);
      this.#segmentProbes = 1;
      return;
    }
    // [REL-11] The probe repeats the oldest unacknowledged frames; a lone PING where there are none.
    const holdsFrames = (content: Content): boolean => (content as ControlContent).frames.length > 0;
    const oldest = this.#recovery.oldest(space, holdsFrames) as ControlContent | undefined;
    if (oldest !== undefined) this.#sendAgain(oldest);
    this.#outbox.pushPing();
  }

  // ---------------------------------------------------------------- writing

  /** Larger datagrams are looked for only while there is bulk to send [MTU-2]. */
  #mayProbe(live: boolean): boolean {
    return live && this.#flows.sending.size > 0;
  }

  #writeProbe(now: Micros, buffer: Uint8Array): Transmit | undefined {
    const bytes = this.#mtu.takeProbe(now);
    if (bytes === undefined) return undefined;
    const padding = bytes - SEALED_HEADER_BYTES - AEAD_TAG_BYTES - 1;
    const frames: Frame[] = [{ type: FrameType.PING }, { type: FrameType.PADDING, bytes: padding }];
    const content = { frames: [], acked: [], probeBytes: bytes, epochBits: this.#sealer.epochBits };
    this.#writeControl(now, buffer, 0, frames, content);
    return { bytes, segmentBytes: bytes };
  }

  /** One datagram: a control packet where frames wait, then segments while they fit [SES-8]. */
  #writeDatagram(now: Micros, buffer: Uint8Array, at: number, datagramBytes: number): number {
    let end = at + this.#writeControlPacket(now, buffer, at, datagramBytes);
    while (at + datagramBytes - end >= SEGMENT_HEADER_BYTES + SEGMENT_PAYLOAD_MIN) {
      const bytes = this.#writeSegmentPacket(now, buffer, end, at + datagramBytes - end, end - at);
      if (bytes === 0) break;
      end += bytes;
    }
    return end - at;
  }

  #writeControlPacket(now: Micros, buffer: Uint8Array, at: number, datagramBytes: number): number {
    if (!this.#hasControl(now)) return 0;
    const frames: Frame[] = [];
    const acked: (readonly [Space, number])[] = [];
    let room = Math.min(datagramBytes, PACKET_BYTES_MAX) - SEALED_HEADER_BYTES - AEAD_TAG_BYTES;
    const waiting = !this.#outbox.empty || this.#flows.hasCreditDue;
    // [CC-3] Control packets may exceed a full window by a little: queries stay quick under bulk load.
    const allowed = this.#recovery.roomBytes + CONTROL_HEADROOM_DATAGRAMS * this.#mtu.datagramBytes > 0;
    const sendsFrames = waiting && (allowed || this.#outbox.pingDue);
    // [ACK-5] Whatever leaves takes all acknowledgements with it, also those that could wait.
    const leaves = sendsFrames || this.#hasAckDue(now);
    for (const space of [Space.CONTROL, Space.SEGMENT]) {
      const acks = this.#acks[space];
      if (!leaves || !acks.pending) continue;
      const frame = this.#ackFrame(now, space, acks);
      frames.push(frame);
      acked.push([space, acks.largest]);
      acks.onAckSent();
      room -= Outbox.sizeOf(frame);
    }
    const again: Frame[] = [];
    if (sendsFrames) {
      for (const frame of this.#flows.takeCredits(Math.floor(room / Outbox.creditBytes))) {
        frames.push(frame);
        again.push(frame);
        room -= Outbox.sizeOf(frame);
      }
      for (const frame of this.#outbox.take(room)) {
        frames.push(frame);
        if (frame.type !== FrameType.PING && frame.type !== FrameType.NOTICE) again.push(frame);
      }
    }
    if (frames.length === 0) return 0;
    const { epochBits } = this.#sealer;
    return this.#writeControl(now, buffer, at, frames, {
      frames: again,
      acked,
      probeBytes: undefined,
      epochBits,
    });
  }

  /** Whether a control packet may have anything to say: asked for every datagram, so it is cheap. */
  #hasControl(now: Micros): boolean {
    return !this.#outbox.empty || this.#flows.hasCreditDue || this.#hasAckDue(now);
  }

  #hasAckDue(now: Micros): boolean {
    const [control, segments] = this.#acks;
    return (control.dueAt ?? Infinity) <= now || (segments.dueAt ?? Infinity) <= now;
  }

  #ackFrame(now: Micros, space: Space, acks: AckTracker): Frame {
    const delayUnits = Math.min(0xffff, Math.floor(acks.delayMicros(now) / ACK_DELAY_UNIT_MICROS));
    return { type: FrameType.ACK, space, delayUnits, ranges: acks.ranges() };
  }

  #writeControl(
    now: Micros,
    buffer: Uint8Array,
    at: number,
    frames: readonly Frame[],
    content: ControlContent,
  ): number {
    const number = this.#recovery.takeNumber(Space.CONTROL);
    const bytes = this.#sealer.write(number, frames, buffer, at);
    if (frames.some(isAckEliciting)) {
      const isProbe = content.probeBytes !== undefined;
      this.#recovery.onPacketSent(now, Space.CONTROL, number, bytes, content, isProbe);
    }
    return bytes;
  }

  #writeSegmentPacket(
    now: Micros,
    buffer: Uint8Array,
    at: number,
    bytesMax: number,
    bytesBefore: number,
  ): number {
    const probing = this.#segmentProbes > 0;
    if (!probing && this.#recovery.roomBytes < bytesMax) {
      if (this.#flows.hasSegment) this.#recovery.onWindowLimited();
      return 0;
    }
    const segment = this.#flows.takeSegment(bytesMax - SEGMENT_HEADER_BYTES);
    if (segment === undefined) return 0;
    if (probing) this.#segmentProbes -= 1;
    const { sealed, content } = segment;
    // [SEG-4] A slice that is sent again has a number of its own.
    const number = this.#recovery.takeNumber(Space.SEGMENT);
    const bytes = SEGMENT_HEADER_BYTES + content.bytes;
    content.isInLarge = bytesBefore + bytes > DATAGRAM_BYTES_MIN;
    writeSegmentHeader(
      buffer,
      at,
      bytes,
      this.#peerTag,
      segment.epochBits,
      number,
      content.flow.id,
      content.record,
      content.offset,
      sealed.length,
    );
    buffer.set(sealed.subarray(content.offset, content.offset + content.bytes), at + SEGMENT_HEADER_BYTES);
    this.#recovery.onPacketSent(now, Space.SEGMENT, number, bytes, content);
    this.#counts.segmentsSent += 1;
    if (segment.resent) this.#counts.segmentsResent += 1;
    return bytes;
  }

  #count(transmit: Transmit): Transmit {
    this.#counts.datagramsSent += Math.ceil(transmit.bytes / transmit.segmentBytes);
    this.#counts.bytesSent += transmit.bytes;
    return transmit;
  }
}
