/**
 * A session whose peer is the fuzzer: it holds the peer's keys, so that what it sends is authenticated,
 * however wrong it is. And the driver that a session needs: it polls, reads and writes flows, answers.
 */

import { type Micros, micros, type PacketNumber, seconds } from '../../src/base/units.ts';
import { bestSuite } from '../../src/crypto/best-suite.ts';
import { ReceiveKeys, SendKeys } from '../../src/crypto/index.ts';
import { plainOf } from '../../src/nodes/object-service.ts';
import { CreditPool, giveRecordBuffer, SENT_PACKETS_MAX } from '../../src/reliability/index.ts';
import { Session, type SessionEvent, type SessionOptions } from '../../src/session/index.ts';
import { CONTROL_FRAMES_QUEUED_MAX, SEND_FLOW_BYTES_MAX } from '../../src/session/limits.ts';
import { lz4Compression } from '../../src/store/compression.ts';
import {
  decodeFrames,
  decodePacket,
  encodeSealedHeader,
  FrameType,
  isFailure,
  PACKET_NUMBER_MAX,
  PacketType,
  packetLength,
  SEALED_HEADER_BYTES,
  SEGMENT_HEADER_BYTES,
  writeSegmentHeader,
} from '../../src/wire/index.ts';
import { checkClause } from '../engine/clauses.ts';
import { check } from '../engine/target.ts';

export type Side = 'initiator' | 'responder';

export const START: Micros = seconds(1_000);
/** Receive memory of the endpoint under test: small, so that its bounds are met. */
const POOL_BYTES = 4 * 1024 * 1024;
const SEAL_BYTES = 16;
const BUFFER = new Uint8Array(65_536);
const SECRETS: Record<Side, Uint8Array> = {
  initiator: new Uint8Array(32).fill(1),
  responder: new Uint8Array(32).fill(2),
};
export const TAGS = {
  initiator: { high: 0x1111_1111, low: 1 },
  responder: { high: 0x2222_2222, low: 2 },
} as const;
const PARAMETERS = { datagramBytesMax: 1_472, windowBytes: 200_000, idleMicros: seconds(10) };

/** Datagrams that one session may send without time passing. */
const TRANSMITS_MAX = 2_000;
/** Timers that may run out in one wait. */
const TIMEOUTS_MAX = 20_000;
/** By then an authenticated packet has been acknowledged, whatever else the session has to do. */
const ANSWER_MICROS = seconds(8);
/** A chunk of memory that every receiving flow may hold beyond its credit [FLOW-9]. */
const FLOW_SLACK_BYTES = 256 * 1024;
const FLOWS_MAX = 256;
/** Packets of one epoch before the fuzzer updates its keys again: the session must have seen one. */
const EPOCH_PACKETS_MIN = 3;

export function newSession(side: Side, options: Partial<SessionOptions> = {}): Session {
  const other = otherSide(side);
  return new Session({
    suite: bestSuite(),
    side,
    now: START,
    sendSecret: SECRETS[side],
    receiveSecret: SECRETS[other],
    handshakeHash: new Uint8Array(32),
    localTag: TAGS[side],
    peerTag: TAGS[other],
    local: PARAMETERS,
    peer: PARAMETERS,
    pool: new CreditPool(POOL_BYTES),
    ...options,
  });
}

export function otherSide(side: Side): Side {
  return side === 'initiator' ? 'responder' : 'initiator';
}

interface Sending {
  full: boolean;
  left: number;
}

export class SessionPeer {
  readonly session: Session;
  readonly pool = new CreditPool(POOL_BYTES);
  readonly side: Side;
  now: number = START;
  /** Ids of queries that either end asked, as far as the driver knows. */
  readonly ids: number[] = [];
  readsFlows = true;
  closed: Extract<SessionEvent, { kind: 'closed' }> | undefined;
  readonly #keys: SendKeys;
  #nextNumber = 0;
  #nextSegment = 0;
  #epochPackets = 0;
  readonly #sending = new Map<number, Sending>();
  /** Where each receiving flow is, and what it has said of its end. */
  readonly #reading = new Map<number, { offset: number; finalBytes: number | undefined }>();
  /** Highest control number that the session has acknowledged, once somebody asks. */
  #acked: { readonly keys: ReceiveKeys; largest: number } | undefined;

  constructor(side: Side) {
    this.side = side;
    this.session = newSession(side, { pool: this.pool });
    this.#keys = new SendKeys(bestSuite(), SECRETS[otherSide(side)]);
    this.frames(Uint8Array.of(FrameType.PING));
  }

  // ---------------------------------------------------------------- what the peer sends

  /** Seals `plaintext`, which need not be frames, under a number `ahead` of the next one. */
  frames(plaintext: Uint8Array, ahead = 0): void {
    const number = Math.min(this.#nextNumber + ahead, PACKET_NUMBER_MAX);
    this.#nextNumber = number + 1;
    this.#epochPackets += 1;
    const bytes = SEALED_HEADER_BYTES + plaintext.length + SEAL_BYTES;
    const packet = new Uint8Array(bytes);
    const { epoch } = this.#keys;
    encodeSealedHeader(packet, 0, bytes, epoch % 4, TAGS[this.side], number as PacketNumber);
    const header = packet.subarray(0, SEALED_HEADER_BYTES);
    this.#keys.sealControl(number, header, plaintext, packet, SEALED_HEADER_BYTES);
    this.datagram(packet);
  }

  /** Seals a record, whatever its plaintext, and sends it in `parts` segments. */
  record(flowId: number, record: number, plaintext: Uint8Array, parts: number): void {
    const sealed = new Uint8Array(plaintext.length + SEAL_BYTES);
    this.#keys.sealRecord(flowId, record, plaintext, sealed, 0);
    const partBytes = Math.ceil(sealed.length / Math.max(1, parts));
    for (let at = 0; at < sealed.length; at += partBytes) {
      this.segment(flowId, record, at, sealed.length, sealed.subarray(at, at + partBytes));
    }
  }

  /** Sends a segment, which nothing authenticates but the record's seal; one that no header can say is left out. */
  segment(flowId: number, record: number, offset: number, sealedBytes: number, payload: Uint8Array): void {
    const bytes = SEGMENT_HEADER_BYTES + payload.length;
    if (payload.length === 0 || sealedBytes > 65_571 || offset + payload.length > sealedBytes) return;
    const packet = new Uint8Array(bytes);
    const number = this.#nextSegment++ as PacketNumber;
    const epochBits = this.#keys.epoch % 4;
    const tag = TAGS[this.side];
    writeSegmentHeader(packet, 0, bytes, tag, epochBits, number, flowId, record, offset, sealedBytes);
    packet.set(payload, SEGMENT_HEADER_BYTES);
    this.datagram(packet);
  }

  datagram(bytes: Uint8Array): void {
    this.session.handleDatagram(micros(this.now), bytes);
    this.settle();
  }

  updateKeys(): void {
    if (this.#epochPackets < EPOCH_PACKETS_MIN) return;
    this.#epochPackets = 0;
    this.#keys.update();
  }

  // ---------------------------------------------------------------- what the driver does

  /** Does what a driver does after every call: events, flows, transmits; checks all bounds. */
  settle(): void {
    this.#takeEvents();
    this.#writeFlows();
    for (let sent = 0; ; sent++) {
      check(sent < TRANSMITS_MAX, 'the session sends and sends');
      const transmit = this.session.pollTransmit(micros(this.now), BUFFER);
      if (transmit === undefined) break;
      this.#checkTransmit(transmit.bytes, transmit.segmentBytes);
      this.#takeEvents();
    }
    this.#takeEvents();
    this.#checkMemory();
  }

  /** Lets time pass. */
  wait(span: number): void {
    const end = this.now + span;
    for (let timeouts = 0; ; timeouts++) {
      check(timeouts < TIMEOUTS_MAX, 'the session does not come to rest');
      const at = this.session.nextTimeout();
      if (at === undefined || at > end) break;
      this.now = Math.max(this.now, at);
      this.session.handleTimeout(micros(this.now));
      this.settle();
    }
    this.now = end;
    this.settle();
  }

  query(kind: number, body: Uint8Array): void {
    const id = this.session.query(kind, body.subarray(0, 1_024));
    if (id !== undefined) this.ids.push(id);
  }

  openReceive(id: number, announced: boolean | number): void {
    const isNew = this.session.isReceiveDone(id);
    if (this.session.openReceive(id, announced) > 0 && isNew) {
      this.#reading.set(id, { offset: 0, finalBytes: undefined });
    }
  }

  openSend(id: number, limitBytes: number, bytes: number): void {
    if (this.session.openSend(id, limitBytes)) this.#sending.set(id, { full: false, left: bytes });
  }

  #takeEvents(): void {
    for (let event = this.session.pollEvent(); event !== undefined; event = this.session.pollEvent()) {
      check(this.closed === undefined, `an event ${event.kind} behind the end`);
      this.#onEvent(event);
    }
  }

  #onEvent(event: SessionEvent): void {
    switch (event.kind) {
      case 'query':
        if (this.ids.length < 4_096) this.ids.push(event.id);
        // The kind says how this one is served.
        if ((event.query & 1) !== 0) this.openReceive(event.id, false);
        if ((event.query & 2) !== 0) this.openSend(event.id, event.query & 4 ? 65_536 : 0, 5_000);
        if ((event.query & 8) === 0) this.session.reply(event.id, event.query % 15, event.body);
        break;
      case 'readable':
        this.#read(event.flowId);
        break;
      case 'writable': {
        const sending = this.#sending.get(event.flowId);
        if (sending !== undefined) sending.full = false;
        break;
      }
      case 'flow-ended':
        (event.sending ? this.#sending : this.#reading).delete(event.flowId);
        break;
      case 'closed':
        this.closed = event;
        check(!this.session.isOpen, 'open after its end');
        if (event.reason === 'protocol') checkClause(event.text);
        break;
      default:
        break;
    }
  }

  /** Takes what waits in a flow: it is in order, tiles the flow, and keeps to what was said of its end. */
  #read(id: number): void {
    const reading = this.#reading.get(id);
    if (!this.readsFlows || reading === undefined) return;
    for (
      let record = this.session.readRecord(id);
      record !== undefined;
      record = this.session.readRecord(id)
    ) {
      check(record.offset === reading.offset, 'records do not tile the flow');
      reading.offset += record.plainBytes;
      if (record.dataLeft >= 0) {
        const finalBytes = reading.offset + record.dataLeft;
        check((reading.finalBytes ?? finalBytes) === finalBytes, 'a flow has two ends');
        reading.finalBytes = finalBytes;
      }
      try {
        const plain = plainOf(record, lz4Compression);
        check(plain.length === record.plainBytes, 'plaintext of another length');
      } catch (error) {
        check(error instanceof Error && 'code' in error && error.code === 'GRAMLINE_PROTOCOL', String(error));
        this.session.stop(id, 11);
        this.#reading.delete(id);
        return;
      } finally {
        giveRecordBuffer(record.payload);
      }
    }
  }

  /** Reads on after a pause. */
  readOn(): void {
    for (const id of this.#reading.keys()) this.#read(id);
  }

  #writeFlows(): void {
    for (const [id, sending] of this.#sending) {
      while (!sending.full && sending.left > 0 && this.session.isOpen && this.session.hasSend(id)) {
        const plainBytes = Math.min(sending.left, 1_800);
        sending.left -= plainBytes;
        const payload = new Uint8Array(plainBytes).fill(id);
        const record = { encoding: 0 as const, plainBytes, dataLeft: sending.left, payload };
        sending.full = !this.session.writeRecord(id, record);
      }
    }
  }

  // ---------------------------------------------------------------- oracles

  /** Every packet that leaves is well-formed and bears the peer's tag. */
  #checkTransmit(bytes: number, segmentBytes: number): void {
    check(segmentBytes > 0 && bytes <= BUFFER.length, `a datagram of ${segmentBytes} in ${bytes} bytes`);
    const tag = TAGS[otherSide(this.side)];
    for (let at = 0; at < bytes; ) {
      const packet = decodePacket(BUFFER.subarray(0, bytes), at);
      check(!isFailure(packet), `sent a packet that is refused: ${String(packet)}`);
      check(packet.tag.high === tag.high && packet.tag.low === tag.low, 'sent a packet with another tag');
      if (packet.type === PacketType.SEALED) this.#look(packet);
      at += packetLength(BUFFER, at);
    }
  }

  #look(packet: Extract<ReturnType<typeof decodePacket>, { type: typeof PacketType.SEALED }>): void {
    const acked = this.#acked;
    if (acked === undefined) return;
    const { keys } = acked;
    const opened = new Uint8Array(packet.sealed.length);
    const bytes = keys.openControl(packet.epochBits, packet.number, packet.header, packet.sealed, opened, 0);
    check(bytes >= 0, 'sent a packet that does not open');
    const frames = decodeFrames(opened.subarray(0, bytes));
    check(!isFailure(frames), `sent frames that are refused: ${String(frames)}`);
    for (const frame of frames) {
      if (frame.type !== FrameType.ACK || frame.space !== 0) continue;
      acked.largest = Math.max(acked.largest, frame.ranges[0]!.last);
    }
  }

  #checkMemory(): void {
    const { heldBytes, keptBytes, framesQueued, packetsInFlight } = this.session.memory;
    check(heldBytes <= POOL_BYTES + FLOWS_MAX * FLOW_SLACK_BYTES, `${heldBytes} bytes are held`);
    check(keptBytes <= FLOWS_MAX * (SEND_FLOW_BYTES_MAX + FLOW_SLACK_BYTES), `${keptBytes} bytes are kept`);
    check(framesQueued <= CONTROL_FRAMES_QUEUED_MAX, `${framesQueued} frames are queued`);
    check(packetsInFlight <= SENT_PACKETS_MAX, `${packetsInFlight} packets are in flight`);
    check(this.pool.takenBytes <= POOL_BYTES + FLOWS_MAX * FLOW_SLACK_BYTES, 'more credit than the pool has');
  }

  /**
   * The session still works: it acknowledges a packet. Or it has ended, for a reason that a session ends
   * for. A word for which.
   */
  finalWord(): string {
    if (this.session.isOpen && this.#nextNumber <= PACKET_NUMBER_MAX) {
      this.#acked = { keys: new ReceiveKeys(bestSuite(), SECRETS[this.side]), largest: -1 };
      const number = this.#nextNumber;
      this.frames(Uint8Array.of(FrameType.PING));
      this.wait(ANSWER_MICROS);
      if (this.session.isOpen) {
        check(this.#acked.largest >= number, 'does not acknowledge any more');
        return 'works';
      }
    }
    if (!this.session.isOpen && this.closed === undefined) this.wait(ANSWER_MICROS);
    if (this.closed === undefined) return 'numbers used up';
    check(this.pool.flows === 0, 'an ended session keeps credit');
    const { reason, text } = this.closed;
    return reason === 'protocol' ? `broke [${checkClause(text)}]` : `${reason}`;
  }
}
