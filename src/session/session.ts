/**
 * One session: joins crypto and reliability. Pure: time comes in as an argument, datagrams and
 * events go out by polling: `handleDatagram`, `handleTimeout`, `nextTimeout`, `pollTransmit`, `pollEvent`.
 * Left out: the handshake (`front.ts`, `initiator.ts`), promises and sockets (`udp/`).
 */

import { assert } from '../base/assert.ts';
import { type Micros, micros } from '../base/units.ts';
import { AckTracker, SEGMENT_NUMBER_JUMP_MAX, TimerTable } from '../reliability/index.ts';
import {
  ACK_RANGES_MAX,
  CloseCode,
  decodeFrames,
  type Frame,
  FrameType,
  isAckEliciting,
  isFailure,
  PacketType,
  ResultCode,
  type SealedPacket,
  type SegmentPacket,
  type SessionTag,
  Space,
} from '../wire/index.ts';
import { Closing, type Reason } from './closing.ts';
import { sealerOf } from './control-sealer.ts';
import { type CloseKind, type SessionEvent, type Violation, violation } from './events.ts';
import { FlowTable } from './flows.ts';
import {
  BUSY_BODY,
  CLOSING_PTOS,
  EVENTS_QUEUED_MAX,
  HALF_OPEN_MICROS,
  IDLE_MICROS_MIN,
  KEEPALIVE_DIVISOR,
  REFUSALS_MAX,
  UNOPENED_MICROS,
} from './limits.ts';
import { Outbox } from './outbox.ts';
import { PacketOpener } from './packet-opener.ts';
import { noCounts, type SessionCounts, type SessionOptions, type Transmit } from './parameters.ts';
import { QueryBook } from './queries.ts';
import type { IncomingRecord } from './receive-flow.ts';
import type { OutgoingRecord } from './send-flow.ts';
import { type AckTrackers, Transmitter } from './transmitter.ts';

type TimerName = 'idle' | 'keepalive' | 'close' | 'half-open' | 'drop-keys' | 'unopened';

export class Session {
  readonly handshakeHash: Uint8Array;
  readonly localTag: SessionTag;
  readonly counts: SessionCounts = noCounts();
  /** When a packet of the peer last opened, or the session began. */
  heardAt: Micros;
  readonly #opener: PacketOpener;
  readonly #transmitter: Transmitter;
  readonly #acks: AckTrackers = [new AckTracker(ACK_RANGES_MAX), new AckTracker(ACK_RANGES_MAX)];
  readonly #timers = new TimerTable<TimerName>();
  readonly #queries: QueryBook;
  readonly #flows: FlowTable;
  readonly #outbox: Outbox;
  readonly #events: SessionEvent[] = [];
  readonly #idleMicros: Micros;
  readonly #closing = new Closing();
  #live = false;
  #refusals = 0;
  /** The time of the call under way: callbacks have no argument for it. */
  #now: Micros;

  constructor(options: SessionOptions) {
    const { suite, now, local, peer, peerTag } = options;
    this.#now = now;
    this.heardAt = now;
    this.handshakeHash = options.handshakeHash;
    this.localTag = options.localTag;
    this.#opener = new PacketOpener({
      suite,
      receiveSecret: options.receiveSecret,
      localTag: options.localTag,
      drop: (reason) => this.#drop(reason),
      keyLog: options.keyLog,
      onKeyUpdate: () => this.#setPtoTimer('drop-keys'),
    });
    const sealer = sealerOf(options);
    this.#queries = new QueryBook(options.side);
    this.#outbox = new Outbox(
      (frame) => frame.type !== FrameType.QUERY || this.#queries.isOutstanding(frame.id),
    );
    this.#flows = new FlowTable({
      seal: (flowId, number, head, body, into) => sealer.sealRecord(flowId, number, head, body, into),
      open: (...record) => this.#opener.openRecord(...record),
      pool: options.pool,
      emit: (event) => this.#emit(event),
      send: (frame) => this.#send(frame),
    });
    this.#transmitter = new Transmitter({
      now,
      local,
      peer,
      peerTag,
      sealer,
      acks: this.#acks,
      outbox: this.#outbox,
      flows: this.#flows,
      counts: this.counts,
      packetNumberLimit: options.packetNumberLimit,
    });
    this.#idleMicros = micros(Math.max(IDLE_MICROS_MIN, Math.min(local.idleMicros, peer.idleMicros)));
    if (options.side === 'initiator') {
      // [SES-3] The initiator speaks first, so that the responder learns that it is live.
      this.#outbox.pushPing();
      this.#onAlive(now);
    } else {
      this.#timers.set('half-open', micros(now + HALF_OPEN_MICROS));
    }
  }

  get isOpen(): boolean {
    return this.#closing.state === 'open';
  }
  get isLive(): boolean {
    return this.#live;
  }
  get rttMicros(): Micros {
    return this.#transmitter.rttMicros;
  }
  get datagramBytes(): number {
    return this.#transmitter.datagramBytes;
  }

  /** Bytes held for both directions, for the bounds that the simulator checks. */
  get memory(): { heldBytes: number; keptBytes: number; framesQueued: number; packetsInFlight: number } {
    return {
      heldBytes: this.#flows.heldBytes,
      keptBytes: this.#flows.keptBytes,
      framesQueued: this.#outbox.size,
      packetsInFlight: this.#transmitter.packetsInFlight,
    };
  }

  /** Plaintext bytes of a record that fills a datagram where those are large, else the most there may be. */
  get recordBytes(): number {
    return this.#transmitter.recordBytes;
  }

  /** Whether frames wait to be sent. */
  get hasFrames(): boolean {
    return !this.#outbox.empty || this.#flows.hasCreditDue;
  }

  /** Sealed, and not sent once. */
  get unsentBytes(): number {
    return this.#flows.unsentBytes;
  }

  /** Sends a query; its id, or undefined when too many wait for a reply [QRY-6]. */
  query(kind: number, body: Uint8Array): number | undefined {
    if (!this.isOpen || this.#outbox.full) return undefined;
    const id = this.#queries.open();
    if (id !== undefined) this.#send({ type: FrameType.QUERY, id, kind, body });
    // [QRY-8] Ids are used once: a session that ran out of them ends, and its user connects again.
    else if (this.#queries.exhausted) {
      this.#startClosing('local', CloseCode.LIMIT, 'query ids are used up');
    }
    return id;
  }

  /** Answers a query of the peer. Only the first answer counts. */
  reply(id: number, code: number, body: Uint8Array): void {
    if (this.isOpen && this.#queries.answer(id)) this.#send({ type: FrameType.REPLY, id, code, body });
  }

  /** Asks for a sign of life. */
  ping(): void {
    if (this.isOpen) this.#outbox.pushPing();
  }

  /** Sends a small unreliable message; dropped when the queue is full. */
  notify(kind: number, body: Uint8Array): void {
    if (this.isOpen && !this.#outbox.full) this.#send({ type: FrameType.NOTICE, kind, body });
  }

  openSend(id: number, limitBytes: number): boolean {
    return this.isOpen && this.#flows.openSend(id, limitBytes);
  }

  openReceive(id: number, announced: boolean | number): number {
    return this.isOpen ? this.#flows.openReceive(id, announced) : 0;
  }

  /** The window that a query may announce now for the flow that answers it; 0 when there is no room. */
  get firstWindowBytes(): number {
    return this.#flows.firstWindowBytes;
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

  /** Ends the session: the peer is told, late packets are answered for a while, then `closed`; at once unless it `lingers`. */
  close(now: Micros, code: number = CloseCode.NORMAL, text = '', lingers = true): void {
    if (!this.isOpen) return;
    this.#now = now;
    this.#startClosing('local', code, text);
    if (!lingers) this.#finish();
  }

  handleDatagram(now: Micros, bytes: Uint8Array): void {
    if (this.#closing.state === 'closed') return;
    this.#now = now;
    this.counts.datagramsReceived += 1;
    this.counts.bytesReceived += bytes.length;
    this.#opener.split(bytes, (packet) => {
      if (packet.type === PacketType.SEALED) this.#handleSealed(now, packet);
      else if (this.isOpen) this.#handleSegment(now, packet);
      return this.#closing.state === 'closed' ? 'stop' : 'go on';
    });
  }

  /** The peer's host says that the peer's port is closed [SES-13]: a hint that is checked by asking. */
  handleRefused(now: Micros): void {
    if (this.#closing.state === 'closed') return;
    this.#now = now;
    this.#refusals += 1;
    if (this.#closing.state === 'closing' || this.#refusals >= REFUSALS_MAX) {
      this.#finish({ reason: 'refused', code: CloseCode.NORMAL, text: 'the port at the peer is closed' });
    } else {
      this.#outbox.pushPing();
    }
  }

  handleTimeout(now: Micros): void {
    this.#now = now;
    // The end of the session clears all timers, and so this loop ends, too.
    for (let timer = this.#timers.takeDue(now); timer !== undefined; timer = this.#timers.takeDue(now)) {
      this.#onTimer(now, timer);
    }
    if (this.isOpen) this.#transmitter.onTimeout(now);
  }

  /** When `handleTimeout` and `pollTransmit` are to be called next, if ever. */
  nextTimeout(): Micros | undefined {
    if (this.#closing.state === 'closed') return undefined;
    const timer = this.#timers.next();
    if (!this.isOpen) return timer;
    const transmit = this.#transmitter.timeoutAt(this.#live);
    return timer === undefined || (transmit !== undefined && transmit < timer) ? transmit : timer;
  }

  /** Writes what may leave now into `buffer` (at least 64 KiB); undefined when nothing may. */
  pollTransmit(now: Micros, buffer: Uint8Array): Transmit | undefined {
    this.#now = now;
    if (this.isOpen && this.#transmitter.wornOut)
      this.#startClosing('local', CloseCode.LIMIT, 'keys or packet numbers are used up');
    if (!this.isOpen) {
      const frame = this.#closing.takeFrame();
      return frame === undefined ? undefined : this.#transmitter.writeAlone(frame, buffer);
    }
    if (this.#flows.sending.size > 0 && this.#timers.get('unopened') === undefined) {
      this.#timers.set('unopened', micros(now + UNOPENED_MICROS));
    }
    return this.#transmitter.poll(now, this.#live, buffer);
  }

  pollEvent(): SessionEvent | undefined {
    return this.#events.shift();
  }

  #handleSealed(now: Micros, packet: SealedPacket): void {
    const bytes = this.#opener.open(packet);
    if (bytes === undefined) return;
    if (this.#closing.state === 'closing') {
      if (this.#closing.onPacket(bytes)) this.#finish();
      return;
    }
    this.#onAuthenticated(now);
    const frames = decodeFrames(bytes);
    // [FRM-2] Authenticated bytes that are no frames break the protocol, as does an empty packet.
    if (isFailure(frames)) return this.#violate(violation('FRM-2', `frames: ${frames}`));
    if (frames.length === 0) return this.#violate(violation('FRM-2', 'no frame'));
    this.#acks[Space.CONTROL].onReceived(now, packet.number, frames.some(isAckEliciting));
    for (const frame of frames) {
      const broken = this.#handleFrame(now, frame);
      if (broken !== undefined) return this.#violate(broken);
      if (!this.isOpen) return;
    }
  }

  #handleFrame(now: Micros, frame: Frame): Violation | undefined {
    switch (frame.type) {
      case FrameType.PADDING:
      case FrameType.PING:
        return undefined;
      case FrameType.ACK: {
        const unsent = this.#transmitter.onAck(now, frame);
        // [ACK-7] Segment numbers can be forged on the path, so only control numbers must be ours.
        return unsent > 0 && frame.space === Space.CONTROL
          ? violation('ACK-7', 'acknowledges what was not sent')
          : undefined;
      }
      case FrameType.CLOSE:
        this.#closing.answer();
        this.#finish({ reason: 'peer', code: frame.code, text: frame.text });
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
        // Notices are unreliable: a driver that falls behind loses them, and nothing else.
        if (this.#events.length >= EVENTS_QUEUED_MAX / 2) this.#drop('notice');
        else this.#emit({ kind: 'notice', notice: frame.kind, body: frame.body.slice() });
        return undefined;
      default:
        return this.#flows.onFrame(frame);
    }
  }

  #onQuery(frame: Extract<Frame, { type: typeof FrameType.QUERY }>): Violation | undefined {
    const arrival = this.#queries.onQuery(frame.id);
    if (typeof arrival === 'object') return arrival;
    if (arrival === 'busy') {
      this.#send({ type: FrameType.REPLY, id: frame.id, code: ResultCode.BUSY, body: BUSY_BODY });
    } else if (arrival === 'fresh') {
      this.#emit({ kind: 'query', id: frame.id, query: frame.kind, body: frame.body.slice() });
    }
    return undefined;
  }

  #handleSegment(now: Micros, packet: SegmentPacket): void {
    const acks = this.#acks[Space.SEGMENT];
    // [SEG-5] Numbers of segments are not authenticated: one far ahead is dropped as forged.
    if (packet.number > acks.largest + SEGMENT_NUMBER_JUMP_MAX) return this.#drop('segment number');
    const verdict = this.#flows.onSegment(packet);
    if (typeof verdict === 'object') return this.#violate(verdict);
    if (verdict === 'drop') return this.#drop('segment');
    // [SEG-7] A number seen before says little, because a forger may have used it first: new content
    // counts all the same. With nothing new it is a copy, and is answered by nothing.
    if (verdict === 'stale' && acks.has(packet.number)) return this.#drop('segment replay');
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
    this.heardAt = now;
    this.#timers.set('idle', micros(now + this.#idleMicros));
    this.#timers.set('keepalive', micros(now + Math.ceil(this.#idleMicros / KEEPALIVE_DIVISOR)));
  }

  #violate(broken: Violation): void {
    this.#startClosing('protocol', CloseCode.PROTOCOL, `[${broken.clause}] ${broken.text}`);
  }

  #drop(reason: string): void {
    this.counts.dropped.set(reason, (this.counts.dropped.get(reason) ?? 0) + 1);
  }

  /** Queues a frame; a peer that lets them pile up beyond the maximum loses the session [SES-18]. */
  #send(frame: Frame): void {
    if (this.#outbox.push(frame) || !this.isOpen) return;
    this.#startClosing('local', CloseCode.LIMIT, 'too many frames wait to be sent');
  }

  #emit(event: SessionEvent): void {
    assert(this.#events.length < EVENTS_QUEUED_MAX, 'driver does not poll events');
    this.#events.push(event);
  }

  #onTimer(now: Micros, timer: TimerName): void {
    switch (timer) {
      case 'idle':
      case 'half-open':
        this.#finish({ reason: 'idle', code: CloseCode.NORMAL, text: 'nothing heard from the peer' });
        break;
      case 'keepalive':
        this.#outbox.pushPing();
        this.#timers.set('keepalive', micros(now + Math.ceil(this.#idleMicros / KEEPALIVE_DIVISOR)));
        break;
      case 'drop-keys':
        this.#opener.dropPreviousKeys();
        break;
      case 'unopened':
        this.#flows.resendUnopened();
        break;
      case 'close':
        this.#finish();
        break;
    }
  }

  #startClosing(reason: CloseKind, code: number, text: string): void {
    this.#closing.start({ reason, code, text });
    this.#stop();
    this.#setPtoTimer('close');
  }

  #finish(reason?: Reason): void {
    const why = this.#closing.finish(reason);
    this.#stop();
    this.#emit({ kind: 'closed', ...why });
  }

  #stop(): void {
    this.#flows.clear();
    this.#timers.clear();
  }

  #setPtoTimer(name: 'close' | 'drop-keys'): void {
    this.#timers.set(name, micros(this.#now + CLOSING_PTOS * this.#transmitter.ptoMicros));
  }
}
