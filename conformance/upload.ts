/** A flow of ours towards the peer: records sealed and cut as a case wants them. */

import {
  encodeRecordHeader,
  FrameType,
  type PacketType,
  RECORD_HEADER_BYTES,
  SEGMENT_HEADER_BYTES,
  type SessionTag,
  Space,
  Writer,
} from '../src/wire/index.ts';
import type { RawSession } from './peer.ts';
import type { Answer } from './peer-types.ts';

const SEGMENT_TYPE: typeof PacketType.SEGMENT = 6;
/** Slices of this size fit every path. */
const SLICE_BYTES_DEFAULT = 1_100;

/** What stands in a record's header; what is left out is that of a stored record at the flow's end. */
export interface RecordFields {
  readonly encoding?: number;
  readonly offset?: number;
  readonly dataLeft?: bigint | number;
  readonly plainBytes?: number;
}

/** A segment's header; what is left out is as it should be. */
export interface SegmentFields {
  readonly number?: number;
  readonly flowId?: number;
  readonly record: number;
  readonly offset: number;
  readonly sealedBytes: number;
  readonly slice: Uint8Array;
  readonly epoch?: number;
  readonly flags?: number;
  readonly tag?: SessionTag;
}

export class Upload {
  readonly session: RawSession;
  readonly id: number;
  /** The clause that is broken when what is sent does not arrive. */
  clause = 'REC-13';

  constructor(session: RawSession, id: number) {
    this.session = session;
    this.id = id;
  }

  /** The greatest limit that CREDIT has granted. */
  get limitBytes(): number {
    return Math.max(0, ...this.#credits.map(({ limitBytes }) => limitBytes));
  }

  /** The greatest number of bytes that CREDIT has reported as opened. */
  get openedBytes(): number {
    return Math.max(0, ...this.#credits.map(({ openedBytes }) => openedBytes));
  }

  get isComplete(): boolean {
    return this.#credits.some(({ complete }) => complete);
  }

  /** Waits for the first CREDIT. */
  async granted(): Promise<number> {
    const { session } = this;
    const look = (): number | undefined => (this.limitBytes > 0 ? this.limitBytes : undefined);
    return session.until(look, 'CREDIT for the flow', { clause: 'FLOW-2' });
  }

  /** The plaintext of a record: header and payload. */
  plaintext(payload: Uint8Array, fields: RecordFields = {}): Uint8Array {
    return recordPlaintext(payload, fields);
  }

  /** Seals a record of this flow. */
  seal(record: number, payload: Uint8Array, fields: RecordFields = {}): Uint8Array {
    return this.session.sealRecord(this.id, record, this.plaintext(payload, fields));
  }

  /** The bytes of one SEGMENT packet. */
  segment(fields: SegmentFields): Uint8Array {
    const number = this.session.takeSegmentNumber(fields.number);
    return segmentBytes(this.session, { flowId: this.id, ...fields, number });
  }

  /** Cuts a sealed record into packets of `sliceBytes`; one packet each. */
  cut(record: number, sealed: Uint8Array, sliceBytes = SLICE_BYTES_DEFAULT): Uint8Array[] {
    const packets: Uint8Array[] = [];
    for (let offset = 0; offset < sealed.length; offset += sliceBytes) {
      const slice = sealed.subarray(offset, offset + sliceBytes);
      packets.push(this.segment({ record, offset, sealedBytes: sealed.length, slice }));
    }
    return packets;
  }

  /** Sends a whole record, in packets of one datagram each. */
  send(record: number, sealed: Uint8Array, sliceBytes = SLICE_BYTES_DEFAULT): void {
    for (const packet of this.cut(record, sealed, sliceBytes)) this.session.sendRaw(packet);
  }

  /** Sends the record until `isDone`, since datagrams may be lost. */
  async deliver(
    record: number,
    sealed: Uint8Array,
    isDone: () => boolean,
    clause = this.clause,
  ): Promise<void> {
    this.send(record, sealed);
    const look = (): true | undefined => isDone() || undefined;
    await this.session.until(look, `record ${record} taken`, {
      clause,
      again: () => this.send(record, sealed),
    });
  }

  /** Sends `payload` as the only record, and waits until it is known to be open. */
  async deliverAll(payload: Uint8Array): Promise<void> {
    await this.deliver(0, this.seal(0, payload), () => this.isComplete);
  }

  /** Sends `payload` in records, each when the one before has arrived and credit reaches it. */
  async stream(payload: Uint8Array, recordBytes: number): Promise<void> {
    const { session } = this;
    for (let offset = 0, record = 0; offset < payload.length; offset += recordBytes, record++) {
      const part = payload.subarray(offset, offset + recordBytes);
      const end = offset + part.length;
      const isGranted = (): true | undefined => this.limitBytes >= end || undefined;
      await session.until(isGranted, `credit up to ${end}`, { clause: 'FLOW-4' });
      const sealed = this.seal(record, part, { offset, dataLeft: payload.length - end });
      const first = session.nextNumber(Space.SEGMENT);
      const isTaken = (): boolean => {
        for (let number = first; number < first + Math.ceil(sealed.length / SLICE_BYTES_DEFAULT); number++) {
          if (!session.isAcked(number, Space.SEGMENT)) return this.isComplete;
        }
        return true;
      };
      await this.deliver(record, sealed, isTaken);
    }
  }

  /** The reply to the query of this flow. */
  reply(clause?: string): Promise<Answer> {
    return this.session.reply(this.id, clause === undefined ? {} : { clause });
  }

  get #credits(): { limitBytes: number; openedBytes: number; complete: boolean }[] {
    return this.session.frames(FrameType.CREDIT).filter(({ flowId }) => flowId === this.id);
  }
}

/** A record's header and payload, right or wrong. */
export function recordPlaintext(payload: Uint8Array, fields: RecordFields = {}): Uint8Array {
  const bytes = new Uint8Array(RECORD_HEADER_BYTES + payload.length);
  const { encoding = 0, offset = 0, dataLeft = 0, plainBytes = payload.length } = fields;
  encodeRecordHeader({ encoding: 0, offset, dataLeft: 0, plainBytes: 0 }, bytes, 0);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, encoding);
  view.setBigInt64(7, BigInt(dataLeft));
  view.setUint32(15, plainBytes);
  bytes.set(payload, RECORD_HEADER_BYTES);
  return bytes;
}

/** The bytes of a SEGMENT packet, right or wrong. */
export function segmentBytes(
  session: RawSession,
  fields: SegmentFields & { readonly flowId: number; readonly number: number },
): Uint8Array {
  const bytes = SEGMENT_HEADER_BYTES + fields.slice.length;
  const writer = new Writer(new Uint8Array(bytes));
  const tag = fields.tag ?? session.peerTag;
  writer.u8(SEGMENT_TYPE);
  writer.u8(fields.flags ?? (fields.epoch ?? session.epoch) % 4);
  writer.u16(bytes);
  writer.u32(tag.high);
  writer.u32(tag.low);
  writer.u48(fields.number);
  writer.u32(fields.flowId);
  writer.u32(fields.record);
  writer.u32(fields.offset);
  writer.u32(fields.sealedBytes);
  writer.bytes(fields.slice);
  return writer.buffer;
}

/** Whether a segment of ours was acknowledged. */
export function isSegmentAcked(session: RawSession, number: number): boolean {
  return session.isAcked(number, Space.SEGMENT);
}
