/**
 * A cursor that writes into a given buffer, the exact inverse of `reader.ts`.
 *
 * Running out of room or out of range is our own bug (callers ask `size` first), so it asserts.
 */

import { assert } from '../base/assert.ts';

const TWO_TO_32 = 0x1_0000_0000;
const U48_MAX = 2 ** 48 - 1;
const encoder = new TextEncoder();

/** Bytes that `value` takes as a varint. */
export function varintSize(value: number): number {
  assert(Number.isSafeInteger(value) && value >= 0, 'varint out of range');
  if (value < 0x40) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x4000_0000) return 4;
  return 8;
}

/** Bytes that a text of one-byte length takes. */
export function text8Size(text: string): number {
  return 1 + Buffer.byteLength(text);
}

export class Writer {
  readonly buffer: Uint8Array;
  at: number;
  readonly #end: number;

  /** Writes into `buffer` from `at`, never past `end`. The buffer is borrowed. */
  constructor(buffer: Uint8Array, at = 0, end = buffer.length) {
    assert(end <= buffer.length, 'writer ends behind its buffer');
    this.buffer = buffer;
    this.at = at;
    this.#end = end;
  }

  get remaining(): number {
    return this.#end - this.at;
  }

  u8(value: number): void {
    assert((value & 0xff) === value, 'u8 out of range');
    this.#room(1);
    this.buffer[this.at++] = value;
  }

  u16(value: number): void {
    assert((value & 0xffff) === value, 'u16 out of range');
    this.#room(2);
    this.buffer[this.at] = value >>> 8;
    this.buffer[this.at + 1] = value;
    this.at += 2;
  }

  u32(value: number): void {
    assert(value >>> 0 === value, 'u32 out of range');
    this.#room(4);
    const { buffer, at } = this;
    buffer[at] = value >>> 24;
    buffer[at + 1] = value >>> 16;
    buffer[at + 2] = value >>> 8;
    buffer[at + 3] = value;
    this.at = at + 4;
  }

  u48(value: number): void {
    assert(Number.isInteger(value) && value >= 0 && value <= U48_MAX, 'u48 out of range');
    this.u16(Math.floor(value / TWO_TO_32));
    this.u32(value % TWO_TO_32);
  }

  i64(value: number): void {
    assert(Number.isSafeInteger(value), 'i64 out of the safe range');
    const high = Math.floor(value / TWO_TO_32);
    this.u32(high >>> 0);
    this.u32(value - high * TWO_TO_32);
  }

  varint(value: number): void {
    switch (varintSize(value)) {
      case 1:
        this.u8(value);
        return;
      case 2:
        this.u16(value | 0x4000);
        return;
      case 4:
        this.u32((value | 0x8000_0000) >>> 0);
        return;
      default:
        this.u32((Math.floor(value / TWO_TO_32) | 0xc000_0000) >>> 0);
        this.u32(value % TWO_TO_32);
    }
  }

  bytes(bytes: Uint8Array): void {
    this.#room(bytes.length);
    this.buffer.set(bytes, this.at);
    this.at += bytes.length;
  }

  /** `bytes`, which must be exactly `count` long. */
  fixed(bytes: Uint8Array, count: number): void {
    assert(bytes.length === count, 'fixed-width field has another length');
    this.bytes(bytes);
  }

  zeros(count: number): void {
    this.#room(count);
    this.buffer.fill(0, this.at, this.at + count);
    this.at += count;
  }

  text8(text: string): void {
    const bytes = Buffer.byteLength(text);
    this.u8(bytes);
    this.#room(bytes);
    // A buffer per text, as `encode` makes it, costs four times as much.
    encoder.encodeInto(text, this.buffer.subarray(this.at, this.at + bytes));
    this.at += bytes;
  }

  #room(count: number): void {
    assert(count <= this.#end - this.at, 'writer out of room');
  }
}
