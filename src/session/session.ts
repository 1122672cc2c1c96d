/**
 * One session: joins crypto and reliability. Pure: time comes in as an argument, datagrams and
 * events go out by polling. One contract for the UDP driver and the simulator:
 * `handleDatagram`, `handleTimeout`, `nextTimeout`, `pollTransmit`, `pollEvent`.
 *
 * Left out: the handshake (`front.ts`, `initiator.ts`), flows (`flows.ts`), query ids
 * (`queries.ts`), what waits to be sent (`outbox.ts`), promises and sockets (`udp/`).
 */

import { assert } from '../base/assert.ts';
import { type Micros, micros } from '../base/units.ts';
import { AEAD_TAG_BYTES, ReceiveKeys, ReplayWindow, SendKeys, type Suite } from '../crypto/index.ts';
import {
  AckTracker,
  type CreditPool,
  Cubic,
  MtuProbe,
  Recovery,
  SEGMENT_NUMBER_JUMP_MAX,
  TimerTable,
} from '../reliability/index.ts';
import {
  ACK_DELAY_UNIT_MICROS,
  ACK_RANGES_MAX,
  CloseCode,
  DATAGRAM_BYTES_MIN,
  decodeFrames,
  decodePacket,
  encodeSegmentHeader,
  type Frame,
  FrameType,
  isAckEliciting,
  isFailure,
  PACKET_BYTES_MAX,
  PacketType,
  packetLength,
  ResultCode,
  SEALED_HEADER_BYTES,
  SEGMENT_HEADER_BYTES,
  type SealedPacket,
  type SegmentPacket,
  type SessionTag,
  Space,
} from '../wire/index.ts';
import { ControlSealer } from './control-sealer.ts';
import { type CloseKind, type SessionEvent, type Violation, violation } from './events.ts';
import { FlowTable } from './flows.ts';
import {
  CLOSING_PTOS,
  CONTROL_HEADROOM_DATAGRAMS,
  DATAGRAM_SIZES,
  EVENTS_QUEUED_MAX,
  HALF_OPEN_MICROS,
  IDLE_MICROS_MIN,
  KEEPALIVE_DIVISOR,
  REFUSALS_MAX,
  SEGMENT_PAYLOAD_MIN,
  TRANSMIT_SEGMENTS_MAX,
} from './limits.ts';
import { Outbox } from './outbox.ts';
import { QueryBook } from './queries.ts';
import type { IncomingRecord } from './receive-flow.ts';
import type { OutgoingRecord, SegmentContent } from './send-flow.ts';

/** What one end declared in the handshake. */
export interface SessionParameters {
  readonly datagramBytesMax: number;
  readonly windowBytes: number;
  readonly idleMicros: Micros;
}

export interface SessionOptions {
  readonly suite: Suite;
  readonly side: 'initiator' | 'responder';
  readonly now: Micros;
  /** Traffic secrets of the two directions. Copied. */
  readonly sendSecret: Uint8Array;
  readonly receiveSecret: Uint8Array;
  readonly handshakeHash: Uint8Array;
  readonly localTag: SessionTag;
  readonly peerTag: SessionTag;
  readonly local: SessionParameters;
  readonly peer: SessionParameters;
  /** Receive memory, shared with the endpoint's other sessions. */
  readonly pool: CreditPool;
}

/** A datagram, or several of equal size behind one another, written into the caller's buffer. */
export interface Transmit {
  readonly bytes: number;
  readonly segmentBytes: number;
}

/** Counts since the start; `dropped` by reason. */
export interface SessionCounts {
  datagramsSent: number;
  datagramsReceived: number;
  bytesSent: number;
  bytesReceived: number;
  segmentsSent: number;
  segmentsResent: number;
  readonly dropped: Map<string, number>;
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
type State = 'open' | 'closing' | 'closed';
type TimerName = 'idle' | 'keepalive' | 'close' | 'half-open' | 'drop-keys';

/** Where control packets are opened: used within one call only, so all sessions share it. */
const OPENED = new Uint8Array(PACKET_BYTES_MAX);

export class Session {
  readonly handshakeHash: Uint8Array;
  readonly localTag: SessionTag;
  readonly counts: SessionCounts = {
    datagramsSent: 0,
    datagramsReceived: 0,
    bytesSent: 0,
    bytesReceived: 0,
    segmentsSent: 0,
    segmentsResent: 0,
    dropped: new Map(),
  };
  readonly #peerTag: SessionTag;
  readonly #receiveKeys: ReceiveKeys;
  readonly #sealer: ControlSealer;
  readonly #replay = new ReplayWindow();
  readonly #acks: readonly [AckTracker, AckTracker] = [
    new AckTracker(ACK_RANGES_MAX),
    new AckTracker(ACK_RANGES_MAX),
  ];
  readonly #controller = new Cubic(DATAGRAM_BYTES_MIN);
  readonly #recovery: Recovery<Content>;
  readonly #mtu: MtuProbe;
  readonly #timers = new TimerTable<TimerName>();
  readonly #queries: QueryBook;
  readonly #flows: FlowTable;
  readonly #outbox: Outbox;
  readonly #events: SessionEvent[] = [];
  readonly #idleMicros: Micros;
  #state: State = 'open';
  #live = false;
  #refusals = 0;
  #segmentProbes = 0;
  #closeFrame: Frame | undefined;
  #closeDue = false;

  constructor(options: SessionOptions) {
    const { suite, now } = options;
    this.handshakeHash = options.handshakeHash;
    this.localTag = options.localTag;
    this.#peerTag = options.peerTag;
    this.#receiveKeys = new ReceiveKeys(suite, options.receiveSecret);
    this.#recovery = new Recovery<Content>(
      this.#controller,
      {
        onPacketAcked: (space, content) => this.#onPacketAcked(space, content),
        onPacketLost: (space, content) => this.#onPacketLost(space, content),
      },
      Math.max(options.peer.windowBytes, 2 * DATAGRAM_BYTES_MIN),
    );
    this.#sealer = new ControlSealer(new SendKeys(suite, options.sendSecret), options.peerTag, now);
    this.#queries = new QueryBook(options.side);
    this.#outbox = new Outbox(
      (frame) => frame.type !== FrameType.QUERY || this.#queries.isOutstanding(frame.id),
    );
    this.#flows = new FlowTable({
      seal: (flowId, number, plaintext, into) => this.#sealer.sealRecord(flowId, number, plaintext, into),
      open: (epochBits, flowId, record, sealed, into) =>
        this.#receiveKeys.openRecord(epochBits, flowId, record, sealed, into, 0),
      pool: options.pool,
      emit: (event) => this.#emit(event),
      send: (frame) => this.#outbox.push(frame),
    });
    const datagramBytesMax = Math.min(options.peer.datagramBytesMax, options.local.datagramBytesMax);
    // Two datagrams must fit the peer's socket buffer, or the window would never open.
    const sizes = DATAGRAM_SIZES.filter(
      (size) => size <= datagramBytesMax && 2 * size <= options.peer.windowBytes,
    );
    this.#mtu = new MtuProbe(sizes.length > 0 ? sizes : [DATAGRAM_BYTES_MIN], now);
    this.#idleMicros = micros(
      Math.max(IDLE_MICROS_MIN, Math.min(options.local.idleMicros, options.peer.idleMicros)),
    );
    this.#now = now;
    if (options.side === 'initiator') {
      // [SES-3] The initiator speaks first, so that the responder learns that it is live.
      this.#outbox.push({ type: FrameType.PING });
      this.#onAlive(now);
    } else {
      this.#timers.set('half-open', micros(now + HALF_OPEN_MICROS));
    }
  }

  /** The time of the call under way: callbacks have no argument for it. */
  #now: Micros;

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  get isLive(): boolean {
    return this.#live;
  }

  get rttMicros(): Micros {
    return this.#recovery.rtt.smoothedMicros;
  }

  get datagramBytes(): number {
    return this.#mtu.datagramBytes;
  }

  /** Largest record plaintext that fits into one segment: the fallback of [REC-18]. */
  get singleSegmentBytes(): number {
    return DATAGRAM_BYTES_MIN - SEGMENT_HEADER_BYTES - AEAD_TAG_BYTES - 32;
  }

  /** Bytes held for both directions, for the bounds that the simulator checks. */
  get memory(): { heldBytes: number; keptBytes: number; framesQueued: number; packetsInFlight: number } {
    return {
      heldBytes: this.#flows.heldBytes,
      keptBytes: this.#flows.keptBytes,
      framesQueued: this.#outbox.size,
      packetsInFlight: this.#recovery.packetsInFlight,
    };
  }

  // ---------------------------------------------------------------- what the driver asks for

  /** Sends a query; its id, or undefined when too many wait for a reply [QRY-6]. */
  query(kind: number, body: Uint8Array): number | undefined {
    if (!this.isOpen || this.#outbox.full) return undefined;
    const id = this.#queries.open();
    if (id !== undefined) this.#outbox.push({ type: FrameType.QUERY, id, kind, body });
    return id;
  }

  /** Answers a query of the peer. Only the first answer counts. */
  reply(id: number, code: number, body: Uint8Array): void {
    if (this.isOpen && this.#queries.answer(id)) this.#outbox.push({ type: FrameType.REPLY, id, code, body });
  }

  /** Sends a small unreliable message; dropped when the queue is full. */
  notify(kind: number, body: Uint8Array): void {
    if (this.isOpen && !this.#outbox.full) this.#outbox.push({ type: FrameType.NOTICE, kind, body });
  }

  openSend(id: number, limitBytes: number): boolean {
    return this.isOpen && this.#flows.openSend(id, limitBytes);
  }

  openReceive(id: number, announced: boolean): number {
    return this.isOpen ? this.#flows.openReceive(id, announced) : 0;
  }

  /** Writes a record to a sending flow; whether there is room for another at once. */
  writeRecord(id: number, record: OutgoingRecord): boolean {
    return this.isOpen && this.#flows.write(id, record);
  }

  hasSend(id: number): boolean {
    return this.#flows.sending.has(id);
  }

  /** The next record of a receiving flow, or undefined. */
  readRecord(id: number): IncomingRecord | undefined {
    return this.#flows.read(id);
  }

  /** Whether all records of a receiving flow have been read, or it ended otherwise. */
  isReceiveDone(id: number): boolean {
    return !this.#flows.receiving.has(id);
  }

  stop(id: number, code: number): void {
    this.#flows.stop(id, code);
  }

  reset(id: number, code: number): void {
    this.#flows.reset(id, code);
  }

  /** Ends the session: the peer is told, late packets are answered for a while, then `closed`. */
  close(now: Micros, code: number = CloseCode.NORMAL, text = ''): void {
    if (this.#state !== 'open') return;
    this.#now = now;
    this.#startClosing(now, 'local', code, text);
  }

  // ---------------------------------------------------------------- the contract

  handleDatagram(now: Micros, bytes: Uint8Array): void {
    this.#now = now;
    this.counts.datagramsReceived += 1;
    this.counts.bytesReceived += bytes.length;
    let at = 0;
    while (at < bytes.length && this.#state !== 'closed') {
      const length = packetLength(bytes, at);
      const packet = decodePacket(bytes, at);
      if (isFailure(packet)) {
        this.#drop(packet);
        if (length === 0) return;
      } else {
        this.#handlePacket(now, packet.type, packet as SealedPacket | SegmentPacket);
      }
      at += length;
    }
  }

  /** The peer's host says that the peer's port is closed [SES-13]: a hint that is checked by asking. */
  handleRefused(now: Micros): void {
    if (this.#state === 'closed') return;
    this.#now = now;
    this.#refusals += 1;
    if (this.#refusals >= REFUSALS_MAX || this.#state === 'closing') {
      this.#finish('refused', CloseCode.NORMAL, 'the port at the peer is closed');
    } else {
      this.#outbox.pushPing();
    }
  }

  handleTimeout(now: Micros): void {
    this.#now = now;
    for (let timer = this.#timers.takeDue(now); timer !== undefined; timer = this.#timers.takeDue(now)) {
      this.#onTimer(now, timer);
      if (this.#state === 'closed') return;
    }
    if (this.#state !== 'open') return;
    const recoveryAt = this.#recovery.timeoutAt();
    if (recoveryAt !== undefined && recoveryAt <= now) this.#onRecoveryTimeout(now);
  }

  /** When `handleTimeout` and `pollTransmit` are to be called next, if ever. */
  nextTimeout(): Micros | undefined {
    if (this.#state === 'closed') return undefined;
    let next = this.#timers.next();
    const consider = (at: Micros | undefined): void => {
      if (at !== undefined && (next === undefined || at < next)) next = at;
    };
    if (this.#state === 'open') {
      consider(this.#recovery.timeoutAt());
      for (const acks of this.#acks) consider(acks.dueAt);
      if (this.#live) consider(this.#mtu.timeoutAt());
    }
    return next;
  }

  /** Writes what may leave now into `buffer` (at least 64 KiB); undefined when nothing may. */
  pollTransmit(now: Micros, buffer: Uint8Array): Transmit | undefined {
    this.#now = now;
    if (this.#state !== 'open') return this.#transmitClose(buffer);
    this.#sealer.updateWhenDue(now, (epochBits) => this.#flows.hasRecordsOutside(epochBits));
    const probe = this.#transmitProbe(now, buffer);
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

  pollEvent(): SessionEvent | undefined {
    return this.#events.shift();
  }

  // ---------------------------------------------------------------- receiving

  #handlePacket(now: Micros, type: PacketType, packet: SealedPacket | SegmentPacket): void {
    if (type !== PacketType.SEALED && type !== PacketType.SEGMENT) return this.#drop('front packet');
    // [PKT-8] The tag keeps strangers off the path out.
    if (packet.tag.high !== this.localTag.high || packet.tag.low !== this.localTag.low)
      return this.#drop('tag');
    if (packet.type === PacketType.SEALED) this.#handleSealed(now, packet);
    else if (this.#state === 'open') this.#handleSegment(now, packet);
  }

  #handleSealed(now: Micros, packet: SealedPacket): void {
    // [SEAL-3] Check, open, then commit: a forged packet never moves the window.
    if (this.#replay.check(packet.number) !== 'fresh') return this.#drop('replay');
    const epoch = this.#receiveKeys.epoch;
    const bytes = this.#receiveKeys.openControl(
      packet.epochBits,
      packet.number,
      packet.header,
      packet.sealed,
      OPENED,
      0,
    );
    if (bytes < 0) return this.#drop('seal');
    this.#replay.commit(packet.number);
    if (this.#receiveKeys.epoch !== epoch) {
      this.#timers.set('drop-keys', micros(now + CLOSING_PTOS * this.#recovery.rtt.ptoMicros));
    }
    if (this.#state === 'closing') {
      this.#onPacketWhileClosing(OPENED.subarray(0, bytes));
      return;
    }
    this.#onAuthenticated(now);
    const frames = decodeFrames(OPENED.subarray(0, bytes));
    // [FRM-2] Authenticated bytes that are no frames break the protocol, as does an empty packet.
    if (isFailure(frames)) return this.#violate(violation('FRM-2', `frames: ${frames}`));
    if (frames.length === 0) return this.#violate(violation('FRM-2', 'no frame'));
    this.#acks[Space.CONTROL].onReceived(now, packet.number, frames.some(isAckEliciting));
    for (const frame of frames) {
      const broken = this.#handleFrame(now, frame);
      if (broken !== undefined) return this.#violate(broken);
      if (this.#state !== 'open') return;
    }
  }

  #handleFrame(now: Micros, frame: Frame): Violation | undefined {
    switch (frame.type) {
      case FrameType.PADDING:
      case FrameType.PING:
        return undefined;
      case FrameType.ACK: {
        const delay = micros(frame.delayUnits * ACK_DELAY_UNIT_MICROS);
        const unsent = this.#recovery.onAckReceived(now, frame.space, frame.ranges, delay);
        // [ACK-7] Segment numbers can be forged on the path, so only control numbers must be ours.
        return unsent > 0 && frame.space === Space.CONTROL
          ? violation('ACK-7', 'acknowledges what was not sent')
          : undefined;
      }
      case FrameType.CLOSE:
        this.#onPeerClose(frame.code, frame.text);
        return undefined;
      case FrameType.QUERY:
        return this.#onQuery(frame);
      case FrameType.REPLY: {
        const first = this.#queries.onReply(frame.id);
        if (typeof first === 'object') return first;
        if (first) this.#emit({ kind: 'reply', id: frame.id, code: frame.code, body: frame.body.slice() });
        return undefined;
      }
      case FrameType.NOTICE:
        this.#emit({ kind: 'notice', notice: frame.kind, body: frame.body.slice() });
        return undefined;
      default:
        return this.#flows.onFrame(frame);
    }
  }

  #onQuery(frame: Extract<Frame, { type: typeof FrameType.QUERY }>): Violation | undefined {
    const arrival = this.#queries.onQuery(frame.id);
    if (typeof arrival === 'object') return arrival;
    if (arrival === 'busy') {
      this.#outbox.push({
        type: FrameType.REPLY,
        id: frame.id,
        code: ResultCode.BUSY,
        body: new Uint8Array(4),
      });
    } else if (arrival === 'fresh') {
      this.#emit({ kind: 'query', id: frame.id, query: frame.kind, body: frame.body.slice() });
    }
    return undefined;
  }

  #handleSegment(now: Micros, packet: SegmentPacket): void {
    const acks = this.#acks[Space.SEGMENT];
    // [SEG-5] Numbers of segments are not authenticated: one far ahead is dropped as forged.
    if (packet.number > acks.largest + SEGMENT_NUMBER_JUMP_MAX) return this.#drop('segment number');
    if (acks.has(packet.number)) return this.#drop('segment replay');
    const verdict = this.#flows.onSegment(packet);
    if (typeof verdict === 'object') return this.#violate(verdict);
    if (verdict === 'drop') return this.#drop('segment');
    acks.onReceived(now, packet.number, true);
    if (verdict === 'proves-life') this.#onAuthenticated(now);
  }

  /** Any authenticated packet proves life [SES-9]. */
  #onAuthenticated(now: Micros): void {
    this.#refusals = 0;
    if (!this.#live) {
      this.#live = true;
      this.#timers.set('half-open', undefined);
      this.#emit({ kind: 'live' });
    }
    this.#onAlive(now);
  }

  #onAlive(now: Micros): void {
    this.#timers.set('idle', micros(now + this.#idleMicros));
    this.#timers.set('keepalive', micros(now + this.#idleMicros / KEEPALIVE_DIVISOR));
  }

  #violate(broken: Violation): void {
    this.#startClosing(this.#now, 'protocol', CloseCode.PROTOCOL, `[${broken.clause}] ${broken.text}`);
  }

  #drop(reason: string): void {
    this.counts.dropped.set(reason, (this.counts.dropped.get(reason) ?? 0) + 1);
  }

  #emit(event: SessionEvent): void {
    assert(this.#events.length < EVENTS_QUEUED_MAX, 'driver does not poll events');
    this.#events.push(event);
  }

  // ---------------------------------------------------------------- recovery

  #onPacketAcked(space: number, content: Content): void {
    if (space === Space.SEGMENT) {
      const segment = content as SegmentContent;
      segment.flow.onSegmentAcked(segment);
      if (segment.bytes > DATAGRAM_BYTES_MIN) this.#mtu.onLargeAcked();
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
      if (segment.bytes > DATAGRAM_BYTES_MIN) this.#mtu.onLargeLost(this.#now);
      return;
    }
    const control = content as ControlContent;
    if (control.probeBytes !== undefined) this.#mtu.onProbeLost(this.#now);
    this.#sendAgain(control);
  }

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
        return !this.#flows.sending.has(segment.flow.id) || !segment.flow.isCurrent(segment);
      });
      const oldest = this.#recovery.oldest(space) as SegmentContent | undefined;
      if (oldest === undefined) return;
      oldest.flow.onSegmentLost(oldest);
      this.#segmentProbes = 1;
      return;
    }
    // [REL-11] The probe repeats the oldest unacknowledged frames; a lone PING where there are none.
    const oldest = this.#recovery.oldest(space) as ControlContent | undefined;
    if (oldest !== undefined) this.#sendAgain(oldest);
    this.#outbox.pushPing();
  }

  // ---------------------------------------------------------------- sending

  #transmitProbe(now: Micros, buffer: Uint8Array): Transmit | undefined {
    if (!this.#live || this.#mtu.timeoutAt() === undefined) return undefined;
    const bytes = this.#mtu.takeProbe(now);
    if (bytes === undefined) return undefined;
    const padding = bytes - SEALED_HEADER_BYTES - AEAD_TAG_BYTES - 1;
    const frames: Frame[] = [{ type: FrameType.PING }, { type: FrameType.PADDING, bytes: padding }];
    const content = { frames: [], acked: [], probeBytes: bytes, epochBits: this.#sealer.epochBits };
    this.#writeControl(now, buffer, 0, frames, content);
    return { bytes, segmentBytes: bytes };
  }

  /** One datagram: a control packet where frames wait, then segments while they fit. */
  #writeDatagram(now: Micros, buffer: Uint8Array, at: number, datagramBytes: number): number {
    let end = at + this.#writeControlPacket(now, buffer, at, datagramBytes);
    while (at + datagramBytes - end >= SEGMENT_HEADER_BYTES + SEGMENT_PAYLOAD_MIN) {
      const bytes = this.#writeSegmentPacket(now, buffer, end, at + datagramBytes - end);
      if (bytes === 0) break;
      end += bytes;
    }
    return end - at;
  }

  #writeControlPacket(now: Micros, buffer: Uint8Array, at: number, datagramBytes: number): number {
    const frames: Frame[] = [];
    const acked: (readonly [Space, number])[] = [];
    let room = Math.min(datagramBytes, PACKET_BYTES_MAX) - SEALED_HEADER_BYTES - AEAD_TAG_BYTES;
    const waiting = !this.#outbox.empty || this.#flows.hasCreditDue;
    // [CC-3] Control packets may exceed a full window by a little: queries stay quick under bulk load.
    const allowed = this.#recovery.roomBytes + CONTROL_HEADROOM_DATAGRAMS * this.#mtu.datagramBytes > 0;
    const sendsFrames = waiting && (allowed || this.#outbox.pingDue);
    for (const space of [Space.CONTROL, Space.SEGMENT]) {
      const acks = this.#acks[space];
      const due = acks.dueAt !== undefined && acks.dueAt <= now;
      if (!due && !(sendsFrames && acks.pending)) continue;
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

  #ackFrame(now: Micros, space: Space, acks: AckTracker): Frame {
    const delayUnits = Math.min(0xffff, Math.floor(acks.delayMicros(now) / ACK_DELAY_UNIT_MICROS));
    return { type: FrameType.ACK, space, delayUnits, ranges: acks.ranges() as never };
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
    if (frames.some(isAckEliciting)) this.#recovery.onPacketSent(now, Space.CONTROL, number, bytes, content);
    return bytes;
  }

  #writeSegmentPacket(now: Micros, buffer: Uint8Array, at: number, bytesMax: number): number {
    const probing = this.#segmentProbes > 0;
    if (!probing && this.#recovery.roomBytes < bytesMax) {
      if (this.#flows.hasSegment) this.#recovery.onWindowLimited();
      return 0;
    }
    const segment = this.#flows.takeSegment(bytesMax - SEGMENT_HEADER_BYTES);
    if (segment === undefined) return 0;
    if (probing) this.#segmentProbes -= 1;
    const { content, payload } = segment;
    const number = this.#recovery.takeNumber(Space.SEGMENT);
    const bytes = SEGMENT_HEADER_BYTES + payload.length;
    encodeSegmentHeader(buffer, at, bytes, {
      tag: this.#peerTag,
      epochBits: segment.epochBits,
      number,
      flowId: content.flow.id,
      record: content.record,
      offset: content.offset,
      sealedBytes: segment.sealedBytes,
    });
    buffer.set(payload, at + SEGMENT_HEADER_BYTES);
    this.#recovery.onPacketSent(now, Space.SEGMENT, number, bytes, content);
    this.counts.segmentsSent += 1;
    if (segment.resent) this.counts.segmentsResent += 1;
    return bytes;
  }

  #count(transmit: Transmit): Transmit {
    this.counts.datagramsSent += Math.ceil(transmit.bytes / transmit.segmentBytes);
    this.counts.bytesSent += transmit.bytes;
    return transmit;
  }

  // ---------------------------------------------------------------- timers and the end

  #onTimer(now: Micros, timer: TimerName): void {
    switch (timer) {
      case 'idle':
      case 'half-open':
        this.#finish('idle', CloseCode.NORMAL, 'nothing heard from the peer');
        break;
      case 'keepalive':
        this.#outbox.pushPing();
        this.#timers.set('keepalive', micros(now + this.#idleMicros / KEEPALIVE_DIVISOR));
        break;
      case 'drop-keys':
        this.#receiveKeys.dropPreviousControl();
        break;
      case 'close':
        this.#finishClosing();
        break;
    }
  }

  #reason: { kind: CloseKind; code: number; text: string } | undefined;

  #startClosing(now: Micros, kind: CloseKind, code: number, text: string): void {
    this.#state = 'closing';
    this.#reason = { kind, code, text };
    this.#closeFrame = { type: FrameType.CLOSE, code, text: text.slice(0, 100) };
    this.#closeDue = true;
    this.#flows.clear();
    this.#timers.clear();
    this.#timers.set('close', micros(now + CLOSING_PTOS * this.#recovery.rtt.ptoMicros));
  }

  /** The peer closed: it is told once that we know, and that is the end. */
  #onPeerClose(code: number, text: string): void {
    this.#closeFrame = { type: FrameType.CLOSE, code: CloseCode.NORMAL, text: '' };
    this.#closeDue = true;
    this.#finish('peer', code, text);
  }

  /** While closing, only a CLOSE matters; anything else is answered with ours again [SES-17]. */
  #onPacketWhileClosing(bytes: Uint8Array): void {
    const frames = decodeFrames(bytes);
    if (!isFailure(frames) && frames.some((frame) => frame.type === FrameType.CLOSE)) this.#finishClosing();
    else this.#closeDue = true;
  }

  #finishClosing(): void {
    const { kind, code, text } = this.#reason!;
    this.#finish(kind, code, text);
  }

  #finish(reason: CloseKind, code: number, text: string): void {
    this.#state = 'closed';
    this.#flows.clear();
    this.#timers.clear();
    this.#emit({ kind: 'closed', reason, code, text });
  }

  #transmitClose(buffer: Uint8Array): Transmit | undefined {
    if (!this.#closeDue || this.#closeFrame === undefined) return undefined;
    this.#closeDue = false;
    const number = this.#recovery.takeNumber(Space.CONTROL);
    const bytes = this.#sealer.write(number, [this.#closeFrame], buffer, 0);
    return this.#count({ bytes, segmentBytes: bytes });
  }
}
