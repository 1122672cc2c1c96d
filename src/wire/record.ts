/**
 * The header inside a sealed record [REC-14]: where the payload stands in the flow, how much of
 * the flow remains behind it (`dataLeft`), and whether it is compressed.
 */

import { assert } from '../base/assert.ts';
import { RECORD_BYTES_MAX, RECORD_HEADER_BYTES } from './constants.ts';
import { type DecodeFailure, Reader } from './reader.ts';
import { Writer } from './writer.ts';

/** How a record's payload is encoded. */
export const RecordEncoding = { STORED: 0, LZ4: 1 } as const;
export type RecordEncoding = (typeof RecordEncoding)[keyof typeof RecordEncoding];

/** `dataLeft` of a flow whose end its sender does not know yet [REC-16]. */
export const DATA_LEFT_UNKNOWN = -1;

export interface RecordHeader {
  readonly encoding: RecordEncoding;
  /** Plaintext bytes of the flow before this record. */
  readonly offset: number;
  /** Plaintext bytes of the flow behind this record: 0 = complete, -1 = unknown [REC-16]. */
  readonly dataLeft: number;
  /** Plaintext bytes of this record, before compression. */
  readonly plainBytes: number;
}

/** Writes `header` at `at`; it takes {@link RECORD_HEADER_BYTES}. */
export function encodeRecordHeader(header: RecordHeader, buffer: Uint8Array, at: number): void {
  assert(header.dataLeft >= DATA_LEFT_UNKNOWN, 'dataLeft below -1');
  assert(header.plainBytes <= RECORD_BYTES_MAX, 'record too long');
  const writer = new Writer(buffer, at, at + RECORD_HEADER_BYTES);
  writer.u8(header.encoding);
  writer.u48(header.offset);
  writer.i64(header.dataLeft);
  writer.u32(header.plainBytes);
}

/** The header at the start of an opened record of `bytes.length`, or why it breaks a rule. */
export function decodeRecordHeader(bytes: Uint8Array): RecordHeader | DecodeFailure {
  const reader = new Reader(bytes, 0);
  const encoding = reader.u8();
  const offset = reader.u48();
  const dataLeft = reader.i64();
  const plainBytes = reader.u32();
  if (reader.failure !== undefined) return reader.failure;
  if (encoding !== RecordEncoding.STORED && encoding !== RecordEncoding.LZ4) return 'unknown';
  // [REC-16] Less than -1 is a protocol error.
  if (dataLeft < DATA_LEFT_UNKNOWN) return 'range';
  if (plainBytes > RECORD_BYTES_MAX) return 'range';
  const payloadBytes = bytes.length - RECORD_HEADER_BYTES;
  // [REC-15] A stored payload has exactly its plain length; a compressed one is shorter than it.
  if (encoding === RecordEncoding.STORED ? payloadBytes !== plainBytes : payloadBytes >= plainBytes)
    return 'length';
  return { encoding, offset, dataLeft, plainBytes };
}
