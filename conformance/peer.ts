/**
 * One end of a session by hand: packet numbers, epochs, acknowledgements, credit and resends are the
 * case's to choose. What the other end sends is opened, kept, and held against the rules that hold for
 * every packet.
 *
 * Built on `src/wire` and `src/crypto` alone: it has no recovery, no congestion control and no timers, and
 * shares none with `src/session`.
 */

import type { PacketNumber } from '../src/base/units.ts';
import { ReceiveKeys, SendKeys, type Suite } from '../src/crypto/index.ts';
import {
  CloseCode,
  decodeFrames,
  decodePacket,
  encodeFrame,
  encodeSealedHeader,
  type Frame,
  FrameType,
  frameSize,
  isAckEliciting,
  isFailure,
  PACKET_BYTES_MAX,
  PacketType,
  packetLength,
  SEALED_HEADER_BYTES,
  type SealedPacket,
  type SegmentPacket,
  type SessionTag,
  Space,
  Writer,
} from '../src/wire/index.ts';
import { CaseFailure, describeFrame, expectThat } from './expectations.ts';
import { type Breach, IncomingFlow } from './incoming-flow.ts';
import { NumberRanges } from './number-ranges.ts';
import type {
  Answer,
  RawSessionOptions,
  ReceivedPacket,
  ReceivedSegment,
  SealOptions,
} from './peer-types.ts';
import type { Datagram } from './udp-port.ts';

/** How long an answer may take: generous, since the peer's machine may be busy with other work. */
export const ANSWER_MILLIS = 8_000;
/** A CLOSE leaves at once. */
const CLOSE_MILLIS = 3_000;
/** A query without an answer is sent again after this long. */
const RESEND_MILLIS = 400;
const AEAD_TAG_BYTES = 16;
/** Packets of the other end that are kept for a case to look at. */
const PACKETS_MAX = 100_000;

export class RawSession {
  readonly options: RawSessionOptions;
  /** Whether what arrives is acknowledged at once. */
  acks = true;
  /** Epoch of our sending keys, where a packet names none. */
  epoch = 0;
  readonly packets: ReceivedPacket[] = [];
  readonly segments: ReceivedSegment[] = [];
  readonly incoming = new Map<number, IncomingFlow>();
  /** Rules that the other end broke, whatever the case was after. */
  readonly breaches: Breach[] = [];
  /** Numbers of space 0 that the other end must not acknowledge: their packets are to be dropped. */
  readonly #forbidden = new Map<number, string>();
  readonly #suite: Suite;
  readonly #receiveKeys: ReceiveKeys;
  readonly #sendKeys: SendKeys[] = [];
  readonly #arrived = [new NumberRanges(), new NumberRanges()] as const;
  readonly #acked = [new NumberRanges(), new NumberRanges()] as const;
  readonly #seals = new Map<number, string>();
  readonly #used: [Set<number>, Set<number>] = [new Set(), new Set()];
  readonly #next: [number, number] = [0, 0];
  #nextQuery: number;

  constructor(options: RawSessionOptions) {
    this.options = options;
    this.#suite = options.suite;
    this.#receiveKeys = new ReceiveKeys(options.suite, options.receiveSecret);
    this.#nextQuery = options.side === 'initiator' ? 0 : 1;
    options.port.onDatagram = (datagram) => this.#take(datagram);
  }

  get handshakeHash(): Uint8Array {
    return this.options.handshakeHash;
  }

  get localTag(): SessionTag {
    return this.options.localTag;
  }

  get peerTag(): SessionTag {
    return this.options.peerTag;
  }

  /** The next unused number of a space. */
  nextNumber(space: Space = Space.CONTROL): number {
    return this.#next[space];
  }

  /** Leaves out numbers: the next packet of the space has this one. */
  skipTo(number: number, space: Space = Space.CONTROL): void {
    this.#next[space] = number;
  }

  // ---------------------------------------------------------------- sending

  /** Seals `plaintext` into a SEALED packet. */
  seal(plaintext: Uint8Array, options: SealOptions = {}): Uint8Array {
    const number = options.number ?? this.#next[Space.CONTROL];
    this.#next[Space.CONTROL] = Math.max(this.#next[Space.CONTROL], number + 1);
    this.#used[Space.CONTROL].add(number);
    const epoch = options.epoch ?? this.epoch;
    const bytes = new Uint8Array(SEALED_HEADER_BYTES + plaintext.length + AEAD_TAG_BYTES);
    const tag = options.tag ?? this.peerTag;
    encodeSealedHeader(bytes, 0, bytes.length, epoch % 4, tag, number as PacketNumber);
    if (options.flags !== undefined) bytes[1] = options.flags;
    if (options.type !== undefined) bytes[0] = options.type;
    const header = bytes.subarray(0, SEALED_HEADER_BYTES);
    this.#keys(epoch).sealControl(number, header, plaintext, bytes, SEALED_HEADER_BYTES);
    options.spoil?.(bytes);
    return bytes;
  }

  /** A SEALED packet of `frames`. */
  packet(frames: readonly Frame[], options: SealOptions = {}): Uint8Array {
    return this.seal(frameBytes(...frames), options);
  }

  /** Sends frames in a packet of their own; returns its number. */
  send(frames: readonly Frame[], options: SealOptions = {}): number {
    const number = options.number ?? this.#next[Space.CONTROL];
    this.sendRaw(this.packet(frames, options));
    return number;
  }

  /** Sends bytes as they are. */
  sendRaw(bytes: Uint8Array): void {
    this.options.port.send(bytes, this.options.to);
  }

  /**
   * Sends a packet that the other end must drop: neither answered nor acknowledged. `clause` is broken when
   * it is acknowledged all the same.
   */
  sendForbidden(bytes: Uint8Array, number: number, clause: string): void {
    this.#forbidden.set(number, clause);
    this.sendRaw(bytes);
  }

  /** A fresh query id. */
  queryId(): number {
    const id = this.#nextQuery;
    this.#nextQuery += 2;
    return id;
  }

  /** Seals a record of a flow under the keys of `epoch`. */
  sealRecord(flowId: number, record: number, plaintext: Uint8Array, epoch = this.epoch): Uint8Array {
    const sealed = new Uint8Array(plaintext.length + AEAD_TAG_BYTES);
    this.#keys(epoch).sealRecord(flowId, record, plaintext, sealed, 0);
    return sealed;
  }

  /** Notes the number of a SEGMENT packet as sent; the next one when none is given. */
  takeSegmentNumber(number?: number): number {
    const taken = number ?? this.#next[Space.SEGMENT];
    this.#next[Space.SEGMENT] = Math.max(this.#next[Space.SEGMENT], taken + 1);
    this.#used[Space.SEGMENT].add(taken);
    return taken;
  }

  // ---------------------------------------------------------------- waiting

  /** Waits until `look` finds something; fails the case when it does not in time. */
  async until<Found>(
    look: () => Found | undefined,
    expected: string,
    options: { readonly clause?: string; readonly millis?: number; readonly again?: () => void } = {},
  ): Promise<Found> {
    const deadline = performance.now() + (options.millis ?? ANSWER_MILLIS);
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      const left = deadline - performance.now();
      if (left <= 0 || this.options.port.isClosed) {
        throw new CaseFailure(expected, this.summary, options.clause);
      }
      const { again } = options;
      const waited = Math.min(left, again === undefined ? left : RESEND_MILLIS);
      const startedAt = performance.now();
      await this.options.port.waitForNews(waited);
      if (again !== undefined && performance.now() - startedAt >= RESEND_MILLIS - 1) again();
    }
  }

  /** Frames of one type that have arrived so far. */
  frames<Type extends Frame['type']>(type: Type): Extract<Frame, { type: Type }>[] {
    return this.packets.flatMap(({ frames }) =>
      frames.filter((frame): frame is Extract<Frame, { type: Type }> => frame.type === type),
    );
  }

  /** Sends a query; its id. Nothing is waited for. */
  query(kind: number, body: Uint8Array = new Uint8Array(0), options: SealOptions = {}): number {
    const id = this.queryId();
    this.send([{ type: FrameType.QUERY, id, kind, body }], options);
    return id;
  }

  /** Asks, again where a datagram may have been lost, until the reply is there. */
  async ask(kind: number, body: Uint8Array = new Uint8Array(0), clause = 'QRY-9'): Promise<Answer> {
    const id = this.queryId();
    const frame: Frame = { type: FrameType.QUERY, id, kind, body };
    this.send([frame]);
    return this.reply(id, { clause, again: () => this.send([frame]) });
  }

  /** The reply to a query that has been sent. */
  async reply(
    id: number,
    options: { readonly clause?: string; readonly again?: () => void; readonly millis?: number } = {},
  ): Promise<Answer> {
    const found = (): Answer | undefined => {
      const answer = this.frames(FrameType.REPLY).find((frame) => frame.id === id);
      const isOver = answer === undefined && this.frames(FrameType.CLOSE).length > 0;
      expectThat(!isOver, `a REPLY to query ${id}`, () => this.summary, options.clause ?? 'QRY-9');
      return answer;
    };
    return this.until(found, `a REPLY to query ${id}`, { clause: 'QRY-9', ...options });
  }

  /**
   * Asks a question of no known kind, which every role answers: what was sent before has been looked at
   * when this resolves. Fails the case, for `clause`, when the session is over.
   */
  async checkAlive(clause?: string): Promise<void> {
    const { code } = await this.ask(UNKNOWN_KIND, undefined, clause ?? 'QRY-9');
    expectThat(code === UNSUPPORTED, 'UNSUPPORTED (12) to an unknown kind', `code ${code}`, 'QRY-9');
    const [close] = this.frames(FrameType.CLOSE);
    expectThat(close === undefined, 'an open session', () => this.summary, clause);
  }

  /** Waits for a CLOSE with this code; asks for it again where a datagram may have been lost. */
  async expectClose(clause: string, code: number = CloseCode.PROTOCOL): Promise<string> {
    const found = (): { code: number; text: string } | undefined => this.frames(FrameType.CLOSE)[0];
    // An end that is closing says so again to every packet that opens.
    const again = (): void => void this.send([PING]);
    const close = await this.until(found, `CLOSE ${code}`, { clause, again, millis: CLOSE_MILLIS });
    expectThat(close.code === code, `CLOSE with code ${code}`, `code ${close.code} '${close.text}'`, clause);
    return close.text;
  }

  /** Waits until the other end acknowledges a number of ours. */
  async expectAck(number: number, space: Space, clause = 'ACK-1', again?: () => void): Promise<void> {
    const isAcked = (): true | undefined => this.isAcked(number, space) || undefined;
    await this.until(
      isAcked,
      `an ACK of ${number} in space ${space}`,
      again === undefined ? { clause } : { clause, again },
    );
  }

  /**
   * From now on nothing is acknowledged. What the other end sent before has been: a copy of that in flight would be
   * what a timeout sends again, and not what comes next.
   */
  async stopAcknowledging(): Promise<void> {
    const ping = (): number => this.send([PING]);
    await this.expectAck(ping(), Space.CONTROL, 'ACK-1', ping);
    this.acks = false;
  }

  /** Whether the other end has acknowledged a number of ours. */
  isAcked(number: number, space: Space): boolean {
    return this.#acked[space].has(number);
  }

  /** Lets the other end act for a while; wakes when the port closes. */
  async idle(millis: number): Promise<void> {
    const deadline = performance.now() + millis;
    while (!this.options.port.isClosed) {
      const left = deadline - performance.now();
      if (left <= 0) return;
      await this.options.port.waitForNews(left);
    }
  }

  /** What arrived, in a few words, for a verdict. */
  get summary(): string {
    const frames = this.packets.flatMap(({ frames }) => frames).filter(({ type }) => type !== FrameType.ACK);
    const named = frames.slice(-6).map(describeFrame);
    const sizes = `${this.packets.length} packets, ${this.segments.length} segments`;
    return named.length === 0 ? sizes : `${sizes}, at last ${named.join('; ')}`;
  }

  /** Ends the session in a friendly way, without waiting. */
  close(): void {
    if (this.options.port.isClosed) return;
    this.send([{ type: FrameType.CLOSE, code: CloseCode.NORMAL, text: '' }]);
    this.options.port.close();
  }

  /** Expects a flow from the other end, for which it has been given this much credit. */
  expectFlow(id: number, limitBytes: number): IncomingFlow {
    const flow = new IncomingFlow(id, this.#receiveKeys, limitBytes);
    this.incoming.set(id, flow);
    return flow;
  }

  /** Acknowledges what has arrived in both spaces. */
  acknowledge(delayUnits = 0): void {
    const frames: Frame[] = [];
    for (const space of [Space.CONTROL, Space.SEGMENT]) {
      const ranges = this.#arrived[space].frameRanges;
      if (ranges.length > 0) frames.push({ type: FrameType.ACK, space, delayUnits, ranges });
    }
    if (frames.length > 0) this.send(frames);
  }

  // ---------------------------------------------------------------- receiving

  #take(datagram: Datagram): void {
    const { bytes } = datagram;
    if (datagram.port !== this.options.to.port) return;
    let wantsAck = false;
    for (let at = 0; at < bytes.length; ) {
      const length = packetLength(bytes, at);
      const packet = decodePacket(bytes, at);
      if (isFailure(packet)) this.#breach('PKT-4', `a packet that does not decode: ${packet}`);
      else if (packet.type === PacketType.SEALED) wantsAck = this.#onSealed(packet, datagram) || wantsAck;
      else if (packet.type === PacketType.SEGMENT) wantsAck = this.#onSegment(packet, datagram) || wantsAck;
      if (length === 0) break;
      at += length;
    }
    if (wantsAck && this.acks) this.acknowledge();
  }

  /** Whether the packet asks for an acknowledgement. */
  #onSealed(packet: SealedPacket, { atMillis, bytes }: Datagram): boolean {
    const { number, epochBits } = packet;
    if (!this.#isForUs(packet.tag)) return false;
    const seal = String(packet.sealed.subarray(-AEAD_TAG_BYTES));
    const earlier = this.#seals.get(number);
    if (earlier === seal) return false;
    if (earlier !== undefined) this.#breach('PKT-12', `packet number ${number} was used twice`);
    this.#seals.set(number, seal);
    const into = new Uint8Array(PACKET_BYTES_MAX);
    const opened = this.#receiveKeys.openControl(epochBits, number, packet.header, packet.sealed, into, 0);
    if (opened < 0) {
      this.#breach('KEY-4', `SEALED packet ${number} does not open`);
      return false;
    }
    const frames = decodeFrames(into.slice(0, opened));
    if (isFailure(frames) || frames.length === 0) {
      this.#breach('FRM-1', `the frames of packet ${number}: ${isFailure(frames) ? frames : 'none'}`);
      return false;
    }
    this.#arrived[Space.CONTROL].add(number);
    if (this.packets.length < PACKETS_MAX) {
      this.packets.push({ number, epochBits, frames, atMillis, datagramBytes: bytes.length });
    }
    for (const frame of frames) this.#onFrame(frame);
    return frames.some(isAckEliciting);
  }

  #onFrame(frame: Frame): void {
    if (frame.type === FrameType.ACK) {
      for (const { first, last } of frame.ranges) this.#onAcked(frame.space, first, last);
    } else if (frame.type === FrameType.QUERY) {
      const parity = this.options.side === 'initiator' ? 1 : 0;
      if (frame.id % 2 !== parity) this.#breach('QRY-1', `query id ${frame.id} is of our own parity`);
    } else if (frame.type === FrameType.REPLY) {
      const isOurs = frame.id < this.#nextQuery && frame.id % 2 === this.#nextQuery % 2;
      if (!isOurs && !this.expectsReply(frame.id)) this.#breach('QRY-9', `REPLY to ${frame.id}, never asked`);
    }
  }

  /** Ids that the case has asked with by itself. */
  expectsReply: (id: number) => boolean = () => false;

  #onAcked(space: Space, first: number, last: number): void {
    for (let number = first; number <= last; number++) {
      // The rest of a range that is far too long says nothing new.
      if (number - first > PACKETS_MAX) return;
      if (!this.#used[space].has(number)) {
        this.#breach('ACK-1', `ACK of ${number} in space ${space}, which was not sent`);
        return;
      }
      const clause = space === Space.CONTROL ? this.#forbidden.get(number) : undefined;
      if (clause !== undefined) this.#breach(clause, `ACK of packet ${number}, which was to be dropped`);
      this.#acked[space].add(number);
    }
  }

  #onSegment(packet: SegmentPacket, { atMillis, bytes }: Datagram): boolean {
    if (!this.#isForUs(packet.tag)) return false;
    this.#arrived[Space.SEGMENT].add(packet.number);
    if (this.segments.length < PACKETS_MAX) {
      this.segments.push({
        ...packet,
        payload: packet.payload.slice(),
        atMillis,
        datagramBytes: bytes.length,
      });
    }
    const flow = this.incoming.get(packet.flowId);
    if (flow === undefined)
      this.#breach('FLOW-1', `a segment of flow ${packet.flowId}, which nobody asked for`);
    const breach = flow?.add(packet);
    if (breach !== undefined) this.breaches.push(breach);
    return true;
  }

  #isForUs(tag: SessionTag): boolean {
    if (tag.high === this.localTag.high && tag.low === this.localTag.low) return true;
    this.#breach('PKT-8', 'a packet with a tag that is not ours');
    return false;
  }

  #breach(clause: string, text: string): void {
    this.breaches.push({ clause, text });
  }

  #keys(epoch: number): SendKeys {
    while (this.#sendKeys.length <= epoch) {
      const keys = new SendKeys(this.#suite, this.options.sendSecret);
      for (let step = 0; step < this.#sendKeys.length; step++) keys.update();
      this.#sendKeys.push(keys);
    }
    return this.#sendKeys[epoch]!;
  }
}

/** A kind that no role knows. */
export const UNKNOWN_KIND = 250;
const UNSUPPORTED = 12;
export const PING: Frame = { type: FrameType.PING };

/** Frames one behind the other. */
export function frameBytes(...frames: readonly Frame[]): Uint8Array {
  const writer = new Writer(new Uint8Array(frames.reduce((sum, frame) => sum + frameSize(frame), 0)));
  for (const frame of frames) encodeFrame(frame, writer);
  return writer.buffer;
}
