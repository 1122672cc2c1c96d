/**
 * Safe integers as 8 big-endian bytes, for nonces and MAC inputs.
 *
 * Used by `noise.ts`, `packet-protection.ts` and `cookie.ts`. Plain numbers on purpose: this runs once
 * per packet, and `bigint` would allocate there. `wire/` has its own reader and writer.
 */

const TWO_TO_32 = 2 ** 32;

/** Writes `value`, a non-negative safe integer, as 8 big-endian bytes from `at`. */
export function writeUint64(into: Uint8Array, at: number, value: number): void {
  writeUint32(into, at, Math.floor(value / TWO_TO_32));
  writeUint32(into, at + 4, value);
}

/** Writes `value` modulo 2^32 as 4 big-endian bytes from `at`. */
export function writeUint32(into: Uint8Array, at: number, value: number): void {
  into[at] = value >>> 24;
  into[at + 1] = value >>> 16;
  into[at + 2] = value >>> 8;
  into[at + 3] = value;
}

/** The number in the 8 big-endian bytes from `at`. Inexact above `Number.MAX_SAFE_INTEGER`. */
export function readUint64(bytes: Uint8Array, at: number): number {
  return readUint32(bytes, at) * TWO_TO_32 + readUint32(bytes, at + 4);
}

function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
