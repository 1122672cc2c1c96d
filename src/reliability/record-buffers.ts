/**
 * Buffers for sealed records, used again: bulk transfer would otherwise allocate, and the collector
 * chase, several times the bytes that it moves. One pool for the process; its buffers carry only
 * ciphertext.
 */

import { SEALED_RECORD_BYTES_MAX } from '../wire/index.ts';

/** Buffers kept for later: 32 MiB. More are left to the collector. */
export const RECORD_BUFFERS_KEPT_MAX = 512;
/** Below this share of a full record a buffer of its own is cheaper than a pooled one. */
const POOLED_BYTES_MIN = SEALED_RECORD_BYTES_MAX / 4;

const free: ArrayBuffer[] = [];

/** A buffer of `bytes` bytes, of any content. */
export function takeRecordBuffer(bytes: number): Uint8Array {
  if (bytes < POOLED_BYTES_MIN || bytes > SEALED_RECORD_BYTES_MAX) return new Uint8Array(bytes);
  return new Uint8Array(free.pop() ?? new ArrayBuffer(SEALED_RECORD_BYTES_MAX), 0, bytes);
}

/** Gives a buffer back that {@link takeRecordBuffer} gave, once; nobody may look at it any more. */
export function giveRecordBuffer(buffer: Uint8Array): void {
  if (buffer.buffer.byteLength !== SEALED_RECORD_BYTES_MAX || free.length >= RECORD_BUFFERS_KEPT_MAX) return;
  free.push(buffer.buffer as ArrayBuffer);
}
