/**
 * SEGMENT headers, read and written in place. They are the one layout that is handled for every 1,400
 * bytes of bulk data, so this file allocates nothing but the view of a payload; `packets.ts` says the same
 * with objects, and a test holds the two against each other.
 */

import { assert } from '../base/assert.ts';
import type { PacketNumber } from '../base/units.ts';
import { PacketType, SEALED_RECORD_BYTES_MAX, SEGMENT_HEADER_BYTES } from './constants.ts';
import type { SegmentPacket, SessionTag } from './packets.ts';
import type { DecodeFailure } from './reader.ts';

const EPOCH_MASK = 3;
const TWO_32 = 2 ** 32;
const NOTHING = new Uint8Array(0);

/** Writes the header of a SEGMENT packet that is `bytes` long in all; the caller puts the payload behind it. */
export function writeSegmentHeader(
  buffer: Uint8Array,
  at: number,
  bytes: number,
  tag: SessionTag,
  epochBits: number,
  number: PacketNumber,
  flowId: number,
  record: number,
  offset: number,
  sealedBytes: number,
): void {
  const payloadBytes = bytes - SEGMENT_HEADER_BYTES;
  assert(epochBits <= EPOCH_MASK, 'epoch bits out of range');
  assert(sealedBytes <= SEALED_RECORD_BYTES_MAX, 'record too long');
  assert(payloadBytes > 0 && offset + payloadBytes <= sealedBytes, 'segment outside its record');
  assert(at + SEGMENT_HEADER_BYTES <= buffer.length, 'no room for the header');
  buffer[at] = PacketType.SEGMENT;
  buffer[at + 1] = epochBits;
  buffer[at + 2] = bytes >>> 8;
  buffer[at + 3] = bytes;
  write32(buffer, at + 4, tag.high);
  write32(buffer, at + 8, tag.low);
  const high = Math.floor(number / TWO_32);
  buffer[at + 12] = high >>> 8;
  buffer[at + 13] = high;
  write32(buffer, at + 14, number);
  write32(buffer, at + 18, flowId);
  write32(buffer, at + 22, record);
  write32(buffer, at + 26, offset);
  write32(buffer, at + 30, sealedBytes);
}

/** A SEGMENT packet that is used again for each one: what it holds is good until the next is read into it. */
export class SegmentView implements SegmentPacket {
  readonly type = PacketType.SEGMENT;
  readonly tag: { high: number; low: number } = { high: 0, low: 0 };
  epochBits = 0;
  number: PacketNumber = 0 as PacketNumber;
  flowId = 0;
  record = 0;
  offset = 0;
  sealedBytes = 0;
  payload: Uint8Array = NOTHING;

  /**
   * Reads the SEGMENT packet of `length` bytes at `at`; `length` is what `packetLength` gave. Why it is
   * refused, or undefined. Never throws, whatever the bytes.
   */
  read(bytes: Uint8Array, at: number, length: number): DecodeFailure | undefined {
    if ((bytes[at + 1]! & ~EPOCH_MASK) !== 0) return 'reserved';
    if (length < SEGMENT_HEADER_BYTES) return 'truncated';
    this.epochBits = bytes[at + 1]!;
    this.tag.high = read32(bytes, at + 4);
    this.tag.low = read32(bytes, at + 8);
    const high = (bytes[at + 12]! << 8) | bytes[at + 13]!;
    this.number = (high * TWO_32 + read32(bytes, at + 14)) as PacketNumber;
    this.flowId = read32(bytes, at + 18);
    this.record = read32(bytes, at + 22);
    this.offset = read32(bytes, at + 26);
    this.sealedBytes = read32(bytes, at + 30);
    // [SEG-3] A segment lies inside its record, and carries at least one byte of it.
    const payloadBytes = length - SEGMENT_HEADER_BYTES;
    if (this.sealedBytes > SEALED_RECORD_BYTES_MAX) return 'range';
    if (payloadBytes === 0 || this.offset + payloadBytes > this.sealedBytes) return 'range';
    this.payload = bytes.subarray(at + SEGMENT_HEADER_BYTES, at + length);
    return undefined;
  }
}

function write32(buffer: Uint8Array, at: number, value: number): void {
  buffer[at] = value >>> 24;
  buffer[at + 1] = value >>> 16;
  buffer[at + 2] = value >>> 8;
  buffer[at + 3] = value;
}

function read32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
