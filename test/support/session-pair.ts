/**
 * Sessions for tests, without sockets and in virtual time.
 *
 * `SessionPair` joins two sessions by a link that loses, repeats, delays and reorders by a seed.
 * `Puppet` is one session whose peer is the test itself: it holds the peer's keys, so that what it
 * sends is authenticated however wrong it is. Models: quinn-proto `tests/util.rs`, smoltcp.
 */

import { Random } from '../../sim/random.ts';
import { type Micros, micros, type PacketNumber, seconds } from '../../src/base/units.ts';
import { ReceiveKeys, SendKeys } from '../../src/crypto/index.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { CreditPool } from '../../src/reliability/index.ts';
import { ControlSealer } from '../../src/session/control-sealer.ts';
import {
  Session,
  type SessionEvent,
  type SessionOptions,
  type SessionParameters,
} from '../../src/session/index.ts';
import type { IncomingRecord } from '../../src/session/receive-flow.ts';
import {
  decodeFrames,
  decodePacket,
  encodePacket,
  encodeRecordHeader,
  type Frame,
  FrameType,
  isFailure,
  PacketType,
  packetLength,
  packetSize,
  RECORD_HEADER_BYTES,
  type RecordHeader,
  SEALED_HEADER_BYTES,
  type SegmentPacket,
  type SessionTag,
} from '../../src/wire/index.ts';

export const START: Micros = seconds(1_000);
const POOL_BYTES = 64 * 1024 * 1024;
const BUFFER_BYTES = 65_536;
const SECRETS = { initiator: new Uint8Array(32).fill(1), responder: new Uint8Array(32).fill(2) };
const TAGS: Record<'initiator' | 'responder', SessionTag> = {
  initiator: { high: 0x11111111, low: 1 },
  responder: { high: 0x22222222, low: 2 },
};
export const PARAMETERS: SessionParameters = {
  datagramBytesMax: 1_200,
  windowBytes: 200_000,
  idleMicros: seconds(10),
};

export type Side = 'initiator' | 'responder';

function otherSide(side: Side): Side {
  return side === 'initiator' ? 'responder' : 'initiator';
}

/** A session of one side with the keys that all of these tests share. */
export function makeSession(side: Side, options: Partial<SessionOptions> = {}): Session {
  const other = otherSide(side);
  return new Session({
    suite: nodeSuite,
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

// ---------------------------------------------------------------- two sessions and a link

export interface LinkFaults {
  /** Shares of datagrams. */
  readonly loss: number;
  readonly duplicate: number;
  readonly reorder: number;
  readonly delayMicros: number;
  /** How much later a reordered datagram arrives, at most. */
  readonly reorderMicros: number;
  /** Larger datagrams vanish. */
  readonly mtuBytes: number;
}

export const PERFECT: LinkFaults = {
  loss: 0,
  duplicate: 0,
  reorder: 0,
  delayMicros: 100,
  reorderMicros: 0,
  mtuBytes: 65_507,
};

interface Flight {
  readonly at: number;
  readonly order: number;
  readonly to: End;
  readonly bytes: Uint8Array;
}

/** One end: the session, what it told its driver, and what it sent. */
export class End {
  readonly side: Side;
  readonly session: Session;
  /** All events so far, oldest first. `takeEvents` empties the list. */
  events: SessionEvent[] = [];
  /** Called for each event as it comes. */
  onEvent: ((event: SessionEvent) => void) | undefined;
  /** What is done with a datagram on its way out: false drops it. */
  filter: ((bytes: Uint8Array) => boolean) | undefined;
  datagramsOut = 0;

  constructor(side: Side, session: Session) {
    this.side = side;
    this.session = session;
  }

  takeEvents(): SessionEvent[] {
    const { events } = this;
    this.events = [];
    return events;
  }

  kinds(): string[] {
    return this.events.map((event) => event.kind);
  }
}

export interface PairOptions {
  readonly seed?: number;
  readonly faults?: Partial<LinkFaults>;
  readonly initiator?: Partial<SessionOptions>;
  readonly responder?: Partial<SessionOptions>;
}

export class SessionPair {
  now: number = START;
  readonly left: End;
  readonly right: End;
  faults: LinkFaults;
  /** Handler calls so far: what the liveness property bounds. */
  steps = 0;
  readonly #random: Random;
  readonly #flights: Flight[] = [];
  #order = 0;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);

  constructor(options: PairOptions = {}) {
    this.#random = new Random(options.seed ?? 1);
    this.faults = { ...PERFECT, ...options.faults };
    this.left = new End('initiator', makeSession('initiator', options.initiator));
    this.right = new End('responder', makeSession('responder', options.responder));
  }

  get ends(): readonly End[] {
    return [this.left, this.right];
  }

  /** When something is due next, or undefined when all is over. */
  next(): number | undefined {
    let next: number | undefined;
    for (const flight of this.#flights) if (next === undefined || flight.at < next) next = flight.at;
    for (const { session } of this.ends) {
      const at = session.nextTimeout();
      if (at !== undefined && (next === undefined || at < next)) next = at;
    }
    return next;
  }

  /** Drives both ends and the link until `span` has passed. */
  run(span: number): void {
    const end = this.now + span;
    this.#flush();
    for (;;) {
      const at = this.next();
      if (at === undefined || at > end) break;
      this.#advance(at);
    }
    this.now = end;
    this.#flush();
  }

  /** Drives until `done`, and throws after `span` of virtual time or `stepsMax` steps. */
  runUntil(done: () => boolean, span: number = seconds(120), stepsMax = 200_000): void {
    const end = this.now + span;
    const stepsEnd = this.steps + stepsMax;
    this.#flush();
    while (!done()) {
      const at = this.next();
      if (at === undefined || at > end) throw new Error(`nothing more happens; at ${this.now - START} us`);
      if (this.steps > stepsEnd) throw new Error(`more than ${stepsMax} steps; at ${this.now - START} us`);
      this.#advance(at);
    }
  }

  /** Both ends have heard from one another. */
  static live(options: PairOptions = {}): SessionPair {
    const pair = new SessionPair(options);
    pair.runUntil(() => pair.left.session.isLive && pair.right.session.isLive);
    for (const end of pair.ends) end.takeEvents();
    return pair;
  }

  /** Puts a datagram on its way to `to`, without faults. */
  inject(to: End, bytes: Uint8Array): void {
    this.#flights.push({ at: this.now, order: this.#order++, to, bytes: bytes.slice() });
  }

  #advance(at: number): void {
    this.now = Math.max(this.now, at);
    for (;;) {
      let first = -1;
      for (let index = 0; index < this.#flights.length; index++) {
        const flight = this.#flights[index]!;
        if (flight.at > this.now) continue;
        const best = this.#flights[first];
        if (best === undefined || flight.at < best.at || (flight.at === best.at && flight.order < best.order))
          first = index;
      }
      if (first < 0) break;
      const [flight] = this.#flights.splice(first, 1);
      this.steps += 1;
      flight!.to.session.handleDatagram(micros(this.now), flight!.bytes);
      this.#pump(flight!.to);
    }
    this.#flush();
  }

  #flush(): void {
    for (const end of this.ends) this.#pump(end);
  }

  /** What a driver does after every call: timers, events, transmits. */
  #pump(end: End): void {
    const now = micros(this.now);
    for (let round = 0; ; round++) {
      if (round > 100) throw new Error(`${end.side} does not come to rest at ${this.now - START} us`);
      this.steps += 1;
      end.session.handleTimeout(now);
      this.#takeEvents(end);
      for (
        let sent = end.session.pollTransmit(now, this.#buffer);
        sent !== undefined;
        sent = end.session.pollTransmit(now, this.#buffer)
      ) {
        this.steps += 1;
        for (let at = 0; at < sent.bytes; at += sent.segmentBytes) {
          this.#send(end, this.#buffer.slice(at, Math.min(sent.bytes, at + sent.segmentBytes)));
        }
        this.#takeEvents(end);
      }
      const again = end.session.nextTimeout();
      if (again === undefined || again > now) return;
    }
  }

  #takeEvents(end: End): void {
    for (let event = end.session.pollEvent(); event !== undefined; event = end.session.pollEvent()) {
      end.events.push(event);
      end.onEvent?.(event);
    }
  }

  #send(from: End, bytes: Uint8Array): void {
    from.datagramsOut += 1;
    if (from.filter?.(bytes) === false) return;
    const { faults } = this;
    if (bytes.length > faults.mtuBytes || this.#random.chance(faults.loss)) return;
    const to = from === this.left ? this.right : this.left;
    const copies = this.#random.chance(faults.duplicate) ? 2 : 1;
    for (let copy = 0; copy < copies; copy++) {
      const late = this.#random.chance(faults.reorder) ? this.#random.integer(faults.reorderMicros + 1) : 0;
      this.#flights.push({ at: this.now + faults.delayMicros + late, order: this.#order++, to, bytes });
    }
  }
}

// ---------------------------------------------------------------- flows

/** Writes `bytes` as records of `recordBytes` to a flow, as its sender finds room. */
export class FlowWriter {
  readonly #end: End;
  readonly #id: number;
  readonly #bytes: Uint8Array;
  readonly #recordBytes: number;
  readonly #knowsEnd: boolean;
  #at = 0;
  #finished = false;

  /** With `knowsEnd` false all records but an empty last one say `dataLeft` -1. */
  constructor(end: End, id: number, bytes: Uint8Array, recordBytes: number, knowsEnd = true) {
    this.#end = end;
    this.#id = id;
    this.#bytes = bytes;
    this.#recordBytes = recordBytes;
    this.#knowsEnd = knowsEnd;
  }

  get finished(): boolean {
    return this.#finished;
  }

  /** Writes until the flow is full or its end is written. */
  pump(): void {
    while (!this.#finished) {
      const payload = this.#bytes.subarray(this.#at, this.#at + this.#recordBytes);
      const left = this.#bytes.length - this.#at - payload.length;
      const isLast = this.#knowsEnd ? left === 0 : payload.length === 0;
      this.#at += payload.length;
      this.#finished = isLast;
      const room = this.#end.session.writeRecord(this.#id, {
        encoding: 0,
        plainBytes: payload.length,
        dataLeft: isLast ? 0 : this.#knowsEnd ? left : -1,
        payload,
      });
      if (!room) return;
    }
  }
}

/** Reads a flow to its end. */
export class FlowReader {
  readonly records: IncomingRecord[] = [];
  readonly #end: End;
  readonly #id: number;

  constructor(end: End, id: number) {
    this.#end = end;
    this.#id = id;
  }

  /** Takes up to `most` records; returns how many there were. */
  pump(most = Number.POSITIVE_INFINITY): number {
    let taken = 0;
    while (taken < most) {
      const record = this.#end.session.readRecord(this.#id);
      if (record === undefined) break;
      this.records.push(record);
      taken += 1;
    }
    return taken;
  }

  get done(): boolean {
    return this.#end.session.isReceiveDone(this.#id);
  }

  get bytes(): Uint8Array {
    return Uint8Array.from(Buffer.concat(this.records.map((record) => record.payload)));
  }
}

/** Whether two long byte strings are equal: `toEqual` compares byte by byte, at 10 ms for 64 KiB. */
export function same(left: Uint8Array, right: Uint8Array): boolean {
  return Buffer.from(left).equals(right);
}

export function pattern(length: number, salt = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index++) bytes[index] = index * 7 + (index >>> 8) * 13 + salt;
  return bytes;
}

// ---------------------------------------------------------------- a session and a test

export interface SegmentFields {
  readonly number?: number;
  readonly flowId: number;
  readonly record: number;
  readonly offset?: number;
  readonly sealedBytes?: number;
  readonly payload: Uint8Array;
  readonly epochBits?: number;
}

/** What a puppet's session said in one go. */
export interface Said {
  readonly frames: Frame[];
  readonly segments: SegmentPacket[];
}

export class Puppet {
  readonly session: Session;
  now: number = START;
  readonly sendKeys: SendKeys;
  readonly #sealer: ControlSealer;
  readonly #receiveKeys: ReceiveKeys;
  readonly #side: Side;
  #nextControl = 0;
  #nextSegment = 0;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  lastSent: Uint8Array = new Uint8Array(0);

  /** `side` is the real session's. It is live from the start unless `asleep`. */
  constructor(side: Side, options: Partial<SessionOptions> = {}, asleep = false) {
    const other = otherSide(side);
    this.#side = side;
    this.session = makeSession(side, options);
    this.sendKeys = new SendKeys(nodeSuite, SECRETS[other]);
    this.#sealer = new ControlSealer(this.sendKeys, TAGS[side], START);
    this.#receiveKeys = new ReceiveKeys(nodeSuite, SECRETS[side]);
    if (asleep) return;
    this.send({ type: FrameType.PING });
    this.events();
    this.said();
  }

  /** Sends one authenticated packet with these frames; returns its bytes. */
  send(...frames: Frame[]): Uint8Array {
    return this.sendNumbered(this.#nextControl++, ...frames);
  }

  sendNumbered(number: number, ...frames: Frame[]): Uint8Array {
    const buffer = new Uint8Array(BUFFER_BYTES);
    const bytes = this.#sealer.write(number as PacketNumber, frames, buffer, 0);
    return this.deliver(buffer.slice(0, bytes));
  }

  /** Sends authenticated bytes that need not be frames. */
  sendPlain(plaintext: Uint8Array): Uint8Array {
    const bytes = SEALED_HEADER_BYTES + plaintext.length + 16;
    const packet = new Uint8Array(bytes);
    encodePacket(
      {
        type: PacketType.SEALED,
        tag: TAGS[this.#side],
        epochBits: 0,
        number: this.#nextControl as PacketNumber,
        header: packet,
        sealed: new Uint8Array(plaintext.length + 16),
      },
      packet,
    );
    const header = packet.slice(0, SEALED_HEADER_BYTES);
    this.sendKeys.sealControl(this.#nextControl++, header, plaintext, packet, SEALED_HEADER_BYTES);
    return this.deliver(packet);
  }

  deliver(bytes: Uint8Array): Uint8Array {
    this.lastSent = bytes.slice();
    this.session.handleDatagram(micros(this.now), bytes.slice());
    return this.lastSent;
  }

  /** Sends a segment, which nothing authenticates but the record's seal. */
  segment(fields: SegmentFields): Uint8Array {
    const packet = {
      type: PacketType.SEGMENT,
      tag: TAGS[this.#side],
      epochBits: fields.epochBits ?? 0,
      number: (fields.number ?? this.#nextSegment++) as PacketNumber,
      flowId: fields.flowId,
      record: fields.record,
      offset: fields.offset ?? 0,
      sealedBytes: fields.sealedBytes ?? fields.payload.length,
      payload: fields.payload,
    };
    const bytes = new Uint8Array(packetSize(packet));
    encodePacket(packet, bytes);
    return this.deliver(bytes);
  }

  /** Seals a record; `header` may say what it likes. */
  seal(flowId: number, record: number, header: RecordHeader, payload: Uint8Array): Uint8Array {
    const plaintext = new Uint8Array(RECORD_HEADER_BYTES + payload.length);
    encodeRecordHeader(header, plaintext, 0);
    plaintext.set(payload, RECORD_HEADER_BYTES);
    return this.sealPlain(flowId, record, plaintext);
  }

  sealPlain(flowId: number, record: number, plaintext: Uint8Array): Uint8Array {
    const sealed = new Uint8Array(plaintext.length + 16);
    this.sendKeys.sealRecord(flowId, record, plaintext, sealed, 0);
    return sealed;
  }

  /** Sends a whole record in one segment. */
  record(flowId: number, record: number, offset: number, dataLeft: number, payload: Uint8Array): void {
    const header = { encoding: 0 as const, offset, dataLeft, plainBytes: payload.length };
    this.segment({ flowId, record, payload: this.seal(flowId, record, header, payload) });
  }

  /** Lets time pass: handles what falls due, and returns what the session said meanwhile. */
  wait(span: number): Said {
    const end = this.now + span;
    const said: Said = { frames: [], segments: [] };
    for (let steps = 0; ; steps++) {
      if (steps > 10_000) throw new Error('the session does not come to rest');
      this.#append(said);
      const at = this.session.nextTimeout();
      if (at === undefined || at > end) break;
      this.now = Math.max(this.now, at);
      this.session.handleTimeout(micros(this.now));
    }
    this.now = end;
    return said;
  }

  /** What the session has to say right now. */
  said(): Said {
    const said: Said = { frames: [], segments: [] };
    this.#append(said);
    return said;
  }

  /** The frames that the session has to send right now, without ACK, PING and PADDING. */
  frames(): Frame[] {
    return meaning(this.said().frames);
  }

  events(): SessionEvent[] {
    const events: SessionEvent[] = [];
    for (let event = this.session.pollEvent(); event !== undefined; event = this.session.pollEvent())
      events.push(event);
    return events;
  }

  dropped(reason: string): number {
    return this.session.counts.dropped.get(reason) ?? 0;
  }

  #append(said: Said): void {
    for (;;) {
      const transmit = this.session.pollTransmit(micros(this.now), this.#buffer);
      if (transmit === undefined) return;
      for (let start = 0; start < transmit.bytes; start += transmit.segmentBytes) {
        const end = Math.min(transmit.bytes, start + transmit.segmentBytes);
        this.#open(this.#buffer.slice(start, end), said);
      }
    }
  }

  #open(bytes: Uint8Array, said: Said): void {
    for (let at = 0; at < bytes.length; at += packetLength(bytes, at)) {
      const packet = decodePacket(bytes, at);
      if (isFailure(packet)) throw new Error(`the session sent what cannot be read: ${packet}`);
      if (packet.type === PacketType.SEGMENT) said.segments.push(packet);
      if (packet.type !== PacketType.SEALED) continue;
      const plaintext = new Uint8Array(packet.sealed.length);
      const length = this.#receiveKeys.openControl(
        packet.epochBits,
        packet.number,
        packet.header,
        packet.sealed,
        plaintext,
        0,
      );
      if (length < 0) throw new Error('the session sent what cannot be opened');
      const frames = decodeFrames(plaintext.subarray(0, length));
      if (isFailure(frames)) throw new Error(`the session sent no frames: ${frames}`);
      said.frames.push(...frames);
    }
  }
}

/** Frames that say more than that someone is there. */
export function meaning(frames: readonly Frame[]): Frame[] {
  return frames.filter(
    ({ type }) => type !== FrameType.ACK && type !== FrameType.PING && type !== FrameType.PADDING,
  );
}

/** The text of a CLOSE that says which clause was broken, or what else the session sent. */
export function clauseOf(frames: readonly Frame[]): string {
  const close = frames.find((frame) => frame.type === FrameType.CLOSE);
  return close?.type === FrameType.CLOSE
    ? (/^\[([A-Z]+-\d+)\]/.exec(close.text)?.[1] ?? close.text)
    : 'no CLOSE';
}

/** The segment packets of a datagram. */
export function segmentsOf(datagram: Uint8Array): SegmentPacket[] {
  const found: SegmentPacket[] = [];
  for (let at = 0; at < datagram.length; at += packetLength(datagram, at)) {
    const packet = decodePacket(datagram, at);
    if (isFailure(packet)) break;
    if (packet.type === PacketType.SEGMENT) found.push({ ...packet, payload: packet.payload.slice() });
  }
  return found;
}
