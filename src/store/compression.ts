/**
 * LZ4 block compression of record payloads, on lz4-napi.
 *
 * That package puts a 4-byte little-endian size before the block and trusts it when it
 * uncompresses: six hostile bytes make it allocate 4 GiB. The size is therefore never stored nor
 * sent. It is cut off after compressing, and before uncompressing it is written anew from the
 * length that the record header announced and that was checked against `RECORD_BYTES_MAX`.
 */

import { compressSync, uncompressSync } from 'lz4-napi';
import { assert } from '../base/assert.ts';
import type { Compression } from '../nodes/ports.ts';
import { RECORD_BYTES_MAX } from '../wire/constants.ts';

/** Bytes of the size that lz4-napi puts before a block. */
const SIZE_PREFIX_BYTES = 4;

/** A payload is sent compressed only when that saves at least one part in so many. */
const WORTHWHILE_PARTS = 16;

/**
 * {@link Compression} by LZ4 blocks. Neither call keeps or changes the bytes that it is given, and
 * the results are owned by the caller.
 */
export const lz4Compression: Compression = {
  compress(plain) {
    assert(plain.length <= RECORD_BYTES_MAX, 'more plaintext than a record holds');
    if (plain.length < WORTHWHILE_PARTS) return undefined;
    const prefixed = compressSync(viewOf(plain));
    const payloadBytes = prefixed.length - SIZE_PREFIX_BYTES;
    if (payloadBytes > plain.length - Math.ceil(plain.length / WORTHWHILE_PARTS)) return undefined;
    return new Uint8Array(prefixed.buffer, prefixed.byteOffset + SIZE_PREFIX_BYTES, payloadBytes);
  },

  decompress(payload, plainBytes) {
    if (!Number.isInteger(plainBytes) || plainBytes < 0 || plainBytes > RECORD_BYTES_MAX) return undefined;
    // [REC-5] A compressed payload is shorter than its plaintext.
    if (payload.length >= plainBytes) return undefined;
    const prefixed = Buffer.allocUnsafe(SIZE_PREFIX_BYTES + payload.length);
    prefixed.writeUInt32LE(plainBytes, 0);
    prefixed.set(payload, SIZE_PREFIX_BYTES);
    try {
      const plain = uncompressSync(prefixed);
      if (plain.length !== plainBytes) return undefined;
      return new Uint8Array(plain.buffer, plain.byteOffset, plain.length);
    } catch {
      // The package reports malformed blocks by throwing; the caller only asks whether they hold.
      return undefined;
    }
  },
};

function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
