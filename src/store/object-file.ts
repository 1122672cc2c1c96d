/**
 * The layout of an object's file.
 *
 * ```text
 * payload                       the object's bytes
 * checksums                     xxh3-64 of each 1 MiB chunk of the payload, 8 bytes little-endian each
 * footer, 64 bytes              little-endian
 *    0  magic        4          "GOBJ"
 *    4  version      2          1
 *    6  zero         2
 *    8  chunk bytes  4          1,048,576
 *   12  zero         4
 *   16  payload      8          bytes
 *   24  SHA-256      32         of the payload: the object's name
 *   56  checksum     8          xxh3-64 of the checksums and of the footer up to here
 * ```
 *
 * Everything is in one file, so that a rename makes object and checksums visible at once; and its
 * length follows from the payload's, so that the objects of a directory are listed without opening them.
 */

import { xxh3 } from '@node-rs/xxhash';
import { assert } from '../base/assert.ts';
import { equalBytes } from '../base/bytes.ts';
import { KIB, MIB } from '../base/units.ts';
import { HASH_BYTES } from '../wire/constants.ts';

/** Bytes of a stored chunk: the unit that is checked as a whole when any byte of it is read. */
export const CHUNK_BYTES = MIB;

export const CHECKSUM_BYTES = 8;
export const FOOTER_BYTES = 64;

/** Most bytes of one object: its checksums (32 MiB) are held in memory while it is open. */
export const OBJECT_BYTES_MAX = 2 ** 42;

const FILE_MAGIC = 0x4a424f47;
const FILE_VERSION = 1;
const HASH_OFFSET = 24;
const FOOTER_CHECKSUM_OFFSET = 56;

/** Bytes that an object takes of the quota: KiB, rounded up. */
export function quotaBytesOf(objectBytes: number): number {
  return Math.ceil(objectBytes / KIB) * KIB;
}

/** Chunks of an object of `objectBytes` bytes; the last may be short. */
export function chunksOf(objectBytes: number): number {
  return Math.ceil(objectBytes / CHUNK_BYTES);
}

/** Bytes of checksums and footer behind the payload. */
export function trailerBytesOf(objectBytes: number): number {
  return chunksOf(objectBytes) * CHECKSUM_BYTES + FOOTER_BYTES;
}

/** Payload bytes of a file of `fileBytes` bytes; of a damaged file, some number that fails the check later. */
export function objectBytesOf(fileBytes: number): number {
  const rest = Math.max(0, fileBytes - FOOTER_BYTES);
  return rest - Math.ceil(rest / (CHUNK_BYTES + CHECKSUM_BYTES)) * CHECKSUM_BYTES;
}

/** One state for all checksums, which are computed at once: its code is five times as quick as `xxh3.xxh64`. */
const CHECKSUM = xxh3.Xxh3.withSeed();

/** Checksum of one chunk. */
export function chunkChecksum(chunk: Uint8Array): bigint {
  CHECKSUM.reset();
  return CHECKSUM.update(chunk).digest();
}

/** Collects the checksums of a payload that is being written. */
export class TrailerBuilder {
  readonly #trailer: Uint8Array;
  readonly #view: DataView;
  readonly #objectBytes: number;
  readonly #checksum = xxh3.Xxh3.withSeed();
  #chunks = 0;
  /** Bytes of the chunk that has begun. */
  #chunkBytes = 0;
  #bytes = 0;

  constructor(objectBytes: number) {
    this.#objectBytes = objectBytes;
    this.#trailer = new Uint8Array(trailerBytesOf(objectBytes));
    this.#view = new DataView(this.#trailer.buffer);
  }

  /** Notes the next bytes of the payload, in order. Reads them at once and keeps nothing of them. */
  add(bytes: Uint8Array): void {
    assert(this.#bytes + bytes.length <= this.#objectBytes, 'more bytes than the object has');
    this.#bytes += bytes.length;
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + CHUNK_BYTES - this.#chunkBytes);
      this.#checksum.update(part);
      this.#chunkBytes += part.length;
      at += part.length;
      if (this.#chunkBytes === CHUNK_BYTES) this.#endChunk();
    }
  }

  #endChunk(): void {
    this.#view.setBigUint64(this.#chunks * CHECKSUM_BYTES, this.#checksum.digest(), true);
    this.#checksum.reset();
    this.#chunks++;
    this.#chunkBytes = 0;
  }

  /** The bytes behind the payload. */
  finish(hash: Uint8Array): Uint8Array {
    if (this.#chunkBytes > 0) this.#endChunk();
    assert(this.#chunks === chunksOf(this.#objectBytes), 'an object ends before its last chunk');
    assert(hash.length === HASH_BYTES, 'a hash of wrong length');
    const footer = this.#trailer.length - FOOTER_BYTES;
    this.#view.setUint32(footer, FILE_MAGIC, true);
    this.#view.setUint16(footer + 4, FILE_VERSION, true);
    this.#view.setUint32(footer + 8, CHUNK_BYTES, true);
    this.#view.setBigUint64(footer + 16, BigInt(this.#objectBytes), true);
    this.#trailer.set(hash, footer + HASH_OFFSET);
    const checksum = chunkChecksum(this.#trailer.subarray(0, footer + FOOTER_CHECKSUM_OFFSET));
    this.#view.setBigUint64(footer + FOOTER_CHECKSUM_OFFSET, checksum, true);
    return this.#trailer;
  }
}

/** What is wrong with the trailer of an object, in words; undefined when it holds. */
export function trailerFault(trailer: Uint8Array, hash: Uint8Array, objectBytes: number): string | undefined {
  if (trailer.length !== trailerBytesOf(objectBytes)) return 'its length is wrong';
  const view = new DataView(trailer.buffer, trailer.byteOffset, trailer.length);
  const footer = trailer.length - FOOTER_BYTES;
  if (view.getUint32(footer, true) !== FILE_MAGIC) return 'its footer is missing';
  const checksum = chunkChecksum(trailer.subarray(0, footer + FOOTER_CHECKSUM_OFFSET));
  if (view.getBigUint64(footer + FOOTER_CHECKSUM_OFFSET, true) !== checksum) return 'its footer is damaged';
  if (view.getUint16(footer + 4, true) !== FILE_VERSION) return 'its version is unknown';
  if (view.getUint32(footer + 8, true) !== CHUNK_BYTES) return 'its chunk size is unknown';
  if (view.getBigUint64(footer + 16, true) !== BigInt(objectBytes)) return 'its length is wrong';
  const named = trailer.subarray(footer + HASH_OFFSET, footer + HASH_OFFSET + HASH_BYTES);
  if (!equalBytes(named, hash)) return 'it holds another object';
  return undefined;
}

/** Whether `chunk` is chunk `index` of the object whose (checked) trailer this is. */
export function chunkHolds(trailer: Uint8Array, index: number, chunk: Uint8Array): boolean {
  const view = new DataView(trailer.buffer, trailer.byteOffset, trailer.length);
  return view.getBigUint64(index * CHECKSUM_BYTES, true) === chunkChecksum(chunk);
}
