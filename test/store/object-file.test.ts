import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  CHECKSUM_BYTES,
  CHUNK_BYTES,
  FOOTER_BYTES,
  OBJECT_BYTES_MAX,
  objectBytesOf,
  quotaBytesOf,
  TrailerBuilder,
  trailerBytesOf,
  trailerFault,
} from '../../src/store/object-file.ts';
import { KEPT_CHUNKS_MAX, KeptChunks } from '../../src/store/object-reader.ts';

const HASH = new Uint8Array(32).fill(3);

describe('the layout of an object file', () => {
  test('the length of the payload follows from the length of the file', () => {
    const nearChunks = fc
      .tuple(fc.nat(OBJECT_BYTES_MAX / CHUNK_BYTES - 1), fc.integer({ min: -10, max: 10 }))
      .map(([chunks, off]) => Math.max(0, chunks * CHUNK_BYTES + off));
    fc.assert(
      fc.property(fc.oneof(fc.nat(OBJECT_BYTES_MAX), nearChunks), (bytes) => {
        expect(objectBytesOf(bytes + trailerBytesOf(bytes))).toBe(bytes);
      }),
    );
  });

  test.each([0, 1, FOOTER_BYTES - 1, FOOTER_BYTES, FOOTER_BYTES + 1])(
    'a file of %i bytes, shorter than any with a payload, counts as empty',
    (fileBytes) => {
      expect(Math.max(0, objectBytesOf(fileBytes))).toBe(0);
    },
  );

  test('a trailer is what its page says, byte for byte', () => {
    const builder = new TrailerBuilder(3);
    builder.add(new Uint8Array([1, 2, 3]));
    const trailer = Buffer.from(builder.finish(HASH));
    expect(trailer).toHaveLength(CHECKSUM_BYTES + FOOTER_BYTES);
    const footer = trailer.subarray(CHECKSUM_BYTES);
    expect(footer.subarray(0, 4).toString('latin1')).toBe('GOBJ');
    expect(footer.subarray(4, 24).toString('hex')).toBe(
      '0100' + '0000' + '00001000' + '00000000' + '0300000000000000',
    );
    expect(new Uint8Array(footer.subarray(24, 56))).toEqual(HASH);
    expect(trailerFault(trailer, HASH, 3)).toBeUndefined();
    // Files that were written once must be read for ever: these values are fixed.
    expect(trailer.subarray(0, 8).toString('hex')).toBe('3b73ae32769bceeb');
    expect(footer.subarray(56).toString('hex')).toBe('429d848dc37ef46e');
  });

  test('a trailer is refused for another name, another length, and by a bad sum', () => {
    const builder = new TrailerBuilder(3);
    builder.add(new Uint8Array([1, 2, 3]));
    const trailer = builder.finish(HASH);
    expect(trailerFault(trailer, new Uint8Array(32), 3)).toBe('it holds another object');
    expect(trailerFault(trailer, HASH, 4)).toBe('its length is wrong');
    expect(trailerFault(trailer.subarray(8), HASH, 3)).toBe('its length is wrong');
    trailer[0]! ^= 1;
    expect(trailerFault(trailer, HASH, 3)).toBe('its footer is damaged');
  });

  test('a builder that misses a chunk is a bug', () => {
    expect(() => new TrailerBuilder(CHUNK_BYTES + 1).finish(HASH)).toThrowError('before its last chunk');
  });

  test('room is counted in KiB, rounded up', () => {
    expect([0, 1, 1024, 1025].map(quotaBytesOf)).toEqual([0, 1024, 1024, 2048]);
  });
});

describe('kept chunks', () => {
  test('the most readers keep one, and with one more the least recently used lets go', () => {
    const kept = new KeptChunks();
    const dropped: number[] = [];
    const keepers = Array.from({ length: KEPT_CHUNKS_MAX + 1 }, (_, index) => ({
      dropChunks: () => dropped.push(index),
    }));
    for (const keeper of keepers.slice(0, KEPT_CHUNKS_MAX)) kept.touch(keeper);
    kept.touch(keepers[0]!);
    expect(dropped).toEqual([]);
    kept.touch(keepers[KEPT_CHUNKS_MAX]!);
    expect(dropped).toEqual([1]);
    expect(kept.count).toBe(KEPT_CHUNKS_MAX);
    kept.forget(keepers[0]!);
    expect(kept.count).toBe(KEPT_CHUNKS_MAX - 1);
  });
});
