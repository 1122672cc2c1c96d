/** What a peer sends us in one flow: segments to records, and what the records must keep to. */

import { equalBytes } from '../src/base/bytes.ts';
import type { ReceiveKeys } from '../src/crypto/index.ts';
import {
  decodeRecordHeader,
  isFailure,
  RECORD_HEADER_BYTES,
  type RecordHeader,
  type SegmentPacket,
} from '../src/wire/index.ts';

/** A sealed record up to this size fits one segment on every path [REC-22]. */
const WHOLE_RECORD_BYTES = 1_166;

export interface OpenedRecord extends RecordHeader {
  readonly number: number;
  readonly payload: Uint8Array;
}

/** A rule that the peer broke. */
export interface Breach {
  readonly clause: string;
  readonly text: string;
}

interface Pieces {
  readonly sealed: Uint8Array;
  readonly has: Uint8Array;
  readonly epochBits: number;
  opened: OpenedRecord | undefined;
}

export class IncomingFlow {
  readonly id: number;
  readonly #keys: ReceiveKeys;
  readonly #pieces = new Map<number, Pieces>();
  /** Credit that the peer has been given, in plaintext bytes. */
  limitBytes: number;

  constructor(id: number, keys: ReceiveKeys, limitBytes: number) {
    this.id = id;
    this.#keys = keys;
    this.limitBytes = limitBytes;
  }

  /** Records that have opened, by number. */
  get records(): readonly OpenedRecord[] {
    return [...this.#pieces.values()]
      .flatMap(({ opened }) => (opened === undefined ? [] : [opened]))
      .sort((left, right) => left.number - right.number);
  }

  /** Whether all records up to one that says `dataLeft` 0 have opened. */
  get isComplete(): boolean {
    const { records } = this;
    return records.some(
      (record) => record.dataLeft === 0 && records[record.number]?.number === record.number,
    );
  }

  /** Plaintext bytes that have opened without a gap from the start. */
  get openedBytes(): number {
    let sum = 0;
    for (const [index, record] of this.records.entries()) {
      if (record.number !== index) break;
      sum += record.plainBytes;
    }
    return sum;
  }

  /** Takes a segment; returns the rule that it breaks, if any. */
  add(segment: SegmentPacket): Breach | undefined {
    const { record, offset, payload, sealedBytes, epochBits } = segment;
    const isCut = sealedBytes <= WHOLE_RECORD_BYTES && payload.length < sealedBytes;
    const cut = isCut
      ? { clause: 'REC-22', text: `a sealed record of ${sealedBytes} bytes came in more than one segment` }
      : undefined;
    let pieces = this.#pieces.get(record);
    if (pieces === undefined) {
      const [sealed, has] = [new Uint8Array(sealedBytes), new Uint8Array(sealedBytes)];
      pieces = { sealed, has, epochBits, opened: undefined };
      this.#pieces.set(record, pieces);
    }
    if (pieces.sealed.length !== sealedBytes) {
      return { clause: 'REC-13', text: `record ${record} was sent with another length` };
    }
    for (let index = 0; index < payload.length; index++) {
      if (pieces.has[offset + index] === 1 && pieces.sealed[offset + index] !== payload[index]) {
        return { clause: 'REC-13', text: `record ${record} was sent again with another ciphertext` };
      }
    }
    pieces.sealed.set(payload, offset);
    pieces.has.fill(1, offset, offset + payload.length);
    if (pieces.opened !== undefined || pieces.has.includes(0)) return cut;
    return this.#open(record, pieces) ?? cut;
  }

  #open(number: number, pieces: Pieces): Breach | undefined {
    const into = new Uint8Array(pieces.sealed.length);
    const bytes = this.#keys.openRecord(pieces.epochBits, this.id, number, pieces.sealed, into);
    if (bytes < 0) return { clause: 'REC-1', text: `record ${number} of flow ${this.id} does not open` };
    const plaintext = into.subarray(0, bytes);
    const header = decodeRecordHeader(plaintext);
    if (isFailure(header)) return { clause: 'REC-14', text: `the header of record ${number}: ${header}` };
    const end = header.offset + header.plainBytes;
    pieces.opened = { ...header, number, payload: plaintext.slice(RECORD_HEADER_BYTES) };
    if (end > this.limitBytes) {
      return {
        clause: 'FLOW-3',
        text: `record ${number} ends at ${end}, beyond the credit of ${this.limitBytes}`,
      };
    }
    const before = this.#pieces.get(number - 1)?.opened;
    const expected = number === 0 ? 0 : before && before.offset + before.plainBytes;
    if (expected !== undefined && header.offset !== expected) {
      return { clause: 'REC-19', text: `record ${number} starts at ${header.offset}, not at ${expected}` };
    }
    return undefined;
  }
}

/** All plaintext of stored records, in order. */
export function plaintextOf(records: readonly OpenedRecord[]): Uint8Array {
  const bytes = new Uint8Array(records.reduce((sum, record) => sum + record.payload.length, 0));
  let at = 0;
  for (const record of records) {
    bytes.set(record.payload, at);
    at += record.payload.length;
  }
  return bytes;
}

/** Whether two payloads are one. */
export function isSamePayload(left: OpenedRecord, right: OpenedRecord): boolean {
  return equalBytes(left.payload, right.payload);
}
