/** What is read back from disks, which may be damaged: catalog entries, object trailers, LZ4 payloads. */

import type { Random } from '../../sim/random.ts';
import { concatBytes } from '../../src/base/bytes.ts';
import {
  type CatalogEntry,
  decodeEntry,
  decodeMillis,
  encodeEntry,
  scanEntry,
} from '../../src/nodes/catalog-entry.ts';
import { plainOf } from '../../src/nodes/object-service.ts';
import { lz4Compression } from '../../src/store/compression.ts';
import { nodeHashing } from '../../src/store/hashing.ts';
import {
  CHUNK_BYTES,
  chunkHolds,
  objectBytesOf,
  TrailerBuilder,
  trailerBytesOf,
  trailerFault,
} from '../../src/store/object-file.ts';
import { decodeRecordHeader, NODE_ID_BYTES, RECORD_HEADER_BYTES, TOKEN_BYTES } from '../../src/wire/index.ts';
import { checkBounded, decodeInside, same } from '../engine/comparison.ts';
import { LayoutBuilder } from '../engine/layout.ts';
import { check, type Target } from '../engine/target.ts';
import { unsigned } from './values.ts';
import { recordLayout } from './wire-layouts.ts';

/** Where an entry says how many replicas there are. */
const COUNT_AT = 1 + 6 + 6 + 6 + 4 + 6 + TOKEN_BYTES + 1;
const UNREADABLE = /the catalog holds an entry that this version cannot read/;

// ---------------------------------------------------------------- catalog entries

const catalogEntries: Target = {
  name: 'catalog-entries',
  description: 'values of the catalog as they stand in its state store',
  weight: 5,
  inputBytesMax: 4_200,
  generate: (random) =>
    encodeEntry({
      bytes: unsigned(random, 48),
      createdMillis: unsigned(random, 48),
      revision: unsigned(random, 48),
      requests: unsigned(random, 32),
      expiresMillis: unsigned(random, 48),
      wanted: unsigned(random, 8),
      madeBy: random.bytes(TOKEN_BYTES),
      replicas: Array.from({ length: random.integer(9) }, () => random.bytes(NODE_ID_BYTES)),
    }),
  layout(input) {
    const layout = new LayoutBuilder();
    let at = 0;
    for (const width of [1, 6, 6, 6, 4, 6, TOKEN_BYTES, 1, 1]) {
      layout.number(at, width);
      at += width;
    }
    for (; at < input.length; at += NODE_ID_BYTES) layout.item(at, NODE_ID_BYTES, COUNT_AT);
    return layout;
  },
  run(input) {
    check(Number.isSafeInteger(decodeMillis(input)), 'a time that is no number');
    const entry = decodeInside(input, (bytes) => unlessUnreadable(() => decodeEntry(bytes)));
    const starts: number[] = [];
    const size = decodeInside(input, (bytes) => {
      starts.length = 0;
      return unlessUnreadable(() => scanEntry(bytes, (at) => starts.push(at)));
    });
    check((entry === undefined) === (size === undefined), 'an entry is read by one reader, not by the other');
    if (entry === undefined) return 'unreadable';
    checkBounded(
      unlessUnreadable(() => decodeEntry(input)),
      input,
    );
    check(size === entry.bytes, 'two readers see two sizes');
    const ids = starts.map((at) => input.slice(at, at + NODE_ID_BYTES));
    check(same(ids, entry.replicas), 'two readers see other replicas');
    check(same(encodeEntry(entry), input), 'encodes to other bytes than it was decoded from');
    return `${Math.min(entry.replicas.length, 9)} replicas`;
  },
};

function unlessUnreadable<Value extends CatalogEntry | number>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Error && UNREADABLE.test(error.message)) return undefined;
    throw error;
  }
}

// ---------------------------------------------------------------- trailers of objects

/** An input is a small object's whole file. */
const objectTrailers: Target = {
  name: 'object-trailers',
  description: 'checksums and footer behind a stored object',
  weight: 3,
  inputBytesMax: 2_048,
  generate(random) {
    const payload = random.bytes(random.integer(200));
    return concatBytes(payload, trailerOf(payload));
  },
  layout(input) {
    const layout = new LayoutBuilder();
    const footer = Math.max(0, input.length - 64);
    layout.bytes(0, footer);
    let at = footer;
    for (const width of [4, 2, 2, 4, 4, 8, 32, 8]) {
      if (width <= 8) layout.number(at, width);
      else layout.bytes(at, width);
      at += width;
    }
    return layout;
  },
  run(input) {
    const bytes = objectBytesOf(input.length);
    check(
      Number.isSafeInteger(bytes) && bytes <= input.length,
      `${input.length} bytes of file hold ${bytes}`,
    );
    if (bytes < 0) return 'no object';
    const payload = input.slice(0, bytes);
    const trailer = input.slice(bytes);
    const hash = sha256(payload);
    const fault = decodeInside(trailer, (view) => trailerFault(view, hash, bytes));
    const expected = trailerOf(payload);
    // xxh3 finds what a disk does; an attacker does not reach the file.
    const isHolding = fault === undefined && (bytes === 0 || chunkHolds(trailer, 0, payload));
    check(!same(trailer, expected) || isHolding, `a trailer that holds is refused: ${fault}`);
    check(!isHolding || same(trailer, expected), 'a trailer that does not hold is accepted');
    return fault ?? (isHolding ? 'holds' : 'chunk is damaged');
  },
};

function trailerOf(payload: Uint8Array): Uint8Array {
  const builder = new TrailerBuilder(payload.length);
  builder.add(payload);
  check(payload.length <= CHUNK_BYTES, 'more than a chunk');
  const trailer = builder.finish(sha256(payload));
  check(trailer.length === trailerBytesOf(payload.length), 'a trailer of another length');
  return trailer;
}

function sha256(bytes: Uint8Array): Uint8Array {
  const hash = nodeHashing.sha256();
  hash.update(bytes);
  return hash.digest();
}

// ---------------------------------------------------------------- compressed payloads

/** A block of LZ4 by the format, as plainly as it can be read; undefined when it does not hold. */
export function plainLz4(payload: Uint8Array, plainBytes: number): Uint8Array | undefined {
  const plain = new Uint8Array(plainBytes);
  let at = 0;
  let filled = 0;
  const lengthFrom = (nibble: number): number | undefined => {
    let length = nibble;
    for (let more = nibble === 15; more; ) {
      const byte = payload[at++];
      if (byte === undefined) return undefined;
      length += byte;
      more = byte === 255;
    }
    return length;
  };
  for (;;) {
    const token = payload[at++];
    if (token === undefined) return undefined;
    const literals = lengthFrom(token >>> 4);
    if (literals === undefined || at + literals > payload.length || filled + literals > plainBytes)
      return undefined;
    plain.set(payload.subarray(at, at + literals), filled);
    at += literals;
    filled += literals;
    if (at === payload.length) return filled === plainBytes ? plain : undefined;
    const distance = payload[at]! + (payload[at + 1] ?? Number.NaN) * 256;
    at += 2;
    const length = lengthFrom(token & 15);
    const isInside = distance >= 1 && distance <= filled;
    if (length === undefined || !isInside || filled + length + 4 > plainBytes) return undefined;
    for (let count = 0; count < length + 4; count++, filled++) plain[filled] = plain[filled - distance]!;
  }
}

const lz4: Target = {
  name: 'lz4',
  description: 'compressed records: header and LZ4 payload',
  weight: 4,
  inputBytesMax: 2_048,
  generate: compressedRecord,
  layout: recordLayout,
  run(input) {
    const header = decodeRecordHeader(input);
    if (typeof header === 'string') return `header: ${header}`;
    const payload = input.slice(RECORD_HEADER_BYTES);
    let plain: Uint8Array | undefined;
    try {
      plain = plainOf({ ...header, payload }, lz4Compression);
    } catch (error) {
      check(isProtocolError(error), `throws ${String(error)}`);
    }
    check(plain === undefined || plain.length === header.plainBytes, 'plaintext of another length');
    if (header.encoding === 0) return 'stored';
    const expected = plainLz4(payload, header.plainBytes);
    // A library may refuse ends that the format forbids to encoders only; it may not read otherwise.
    check(plain === undefined || expected === undefined || same(plain, expected), 'decompressed otherwise');
    check(plain === undefined || expected !== undefined, 'decompressed what is no block');
    return plain === undefined ? 'no block' : 'compressed';
  },
};

function isProtocolError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'GRAMLINE_PROTOCOL';
}

/** A record of repetitive plaintext, compressed where that shrinks it. */
export function compressedRecord(random: Random): Uint8Array {
  const pattern = random.bytes(1 + random.integer(8));
  const length = random.chance(0.02) ? 65_536 : random.pick([20, 64, 300, 1_000, 5_000]);
  const plain = Uint8Array.from({ length }, (_, index) => pattern[index % pattern.length]!);
  for (let count = random.integer(6); count > 0; count--) plain[random.integer(length)] = random.integer(256);
  const payload = lz4Compression.compress(plain);
  const body = payload ?? plain.subarray(0, 300);
  const layout = new Uint8Array(RECORD_HEADER_BYTES + body.length);
  layout[0] = payload === undefined ? 0 : 1;
  const plainBytes = payload === undefined ? body.length : length;
  new DataView(layout.buffer).setUint32(15, plainBytes);
  layout.set(body, RECORD_HEADER_BYTES);
  return layout;
}

export const storeTargets: readonly Target[] = [catalogEntries, objectTrailers, lz4];
