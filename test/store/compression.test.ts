import fc from 'fast-check';
import { compressSync } from 'lz4-napi';
import { describe, expect, test } from 'vitest';
import { lz4Compression } from '../../src/store/compression.ts';
import { RECORD_BYTES_MAX } from '../../src/wire/constants.ts';
import { bytesOfSeed, expectBytes } from './support.ts';

const { compress, decompress } = lz4Compression;

/** Bytes that compress more or less well: runs of a few values. */
const compressible = fc
  .array(fc.tuple(fc.nat(255), fc.integer({ min: 1, max: 600 })), { maxLength: 100 })
  .map((runs) => new Uint8Array(runs.flatMap(([value, length]) => new Array<number>(length).fill(value))));

describe('compression of records', () => {
  test('what was compressed comes back', () => {
    fc.assert(
      fc.property(compressible, (plain) => {
        const payload = compress(plain);
        if (payload === undefined) return;
        expect(payload.length).toBeLessThanOrEqual(plain.length - Math.ceil(plain.length / 16));
        expectBytes(decompress(payload, plain.length), plain);
      }),
    );
  });

  test('the largest record is compressed and comes back', () => {
    const plain = new Uint8Array(RECORD_BYTES_MAX).map((_, index) => index >>> 8);
    const payload = compress(plain);
    expect(payload?.length).toBeLessThan(4096);
    expectBytes(decompress(payload!, plain.length), plain);
  });

  test('the payload does not carry the size that the package puts before it', () => {
    const plain = new Uint8Array(1000);
    expectBytes(compress(plain), new Uint8Array(compressSync(Buffer.from(plain)).subarray(4)));
  });

  test.each([0, 1, 15, 1000, RECORD_BYTES_MAX])('%i bytes without a pattern are not compressed', (count) => {
    expect(compress(bytesOfSeed(1, count))).toBeUndefined();
  });

  test('a saving of a sixteenth counts, and a byte less does not', () => {
    let [accepted, refused] = [0, 0];
    // Ever more zeros behind bytes without a pattern: somewhere the saving passes a sixteenth.
    for (let zeros = 0; zeros < 200; zeros++) {
      const plain = new Uint8Array(1600);
      plain.set(bytesOfSeed(2, 1600 - zeros));
      const size = compressSync(Buffer.from(plain)).length - 4;
      const payload = compress(plain);
      expect(payload?.length).toBe(size <= 1500 ? size : undefined);
      if (payload === undefined) refused++;
      else accepted++;
    }
    expect(accepted).toBeGreaterThan(50);
    expect(refused).toBeGreaterThan(50);
  });

  test('more than a record holds is a bug', () => {
    expect(() => compress(new Uint8Array(RECORD_BYTES_MAX + 1))).toThrowError('more plaintext');
  });

  test('the input is not changed, nor kept', () => {
    const plain = new Uint8Array(1000).fill(4);
    const payload = compress(plain)!;
    plain.fill(5);
    const copy = payload.slice();
    const back = decompress(payload, 1000)!;
    expect(payload).toEqual(copy);
    payload.fill(0);
    expectBytes(back, new Uint8Array(1000).fill(4));
  });

  test('a slice of a larger buffer is read at its own place', () => {
    const buffer = new Uint8Array(3000).fill(1).fill(2, 1000, 2000);
    const payload = compress(buffer.subarray(1000, 2000))!;
    const inside = new Uint8Array(payload.length + 20).fill(9);
    inside.set(payload, 10);
    expectBytes(decompress(inside.subarray(10, 10 + payload.length), 1000), new Uint8Array(1000).fill(2));
  });
});

describe('hostile payloads', () => {
  test('any bytes give exactly the announced length or nothing [REC-5]', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(RECORD_BYTES_MAX + 10), (payload, plainBytes) => {
        const plain = decompress(payload, plainBytes);
        if (plain !== undefined) expect(plain.length).toBe(plainBytes);
      }),
      { numRuns: 2000 },
    );
  });

  test('a payload with one byte changed, cut or added gives the announced length or nothing', () => {
    fc.assert(
      fc.property(compressible, fc.nat(), fc.nat(255), fc.nat(2), (plain, place, value, way) => {
        const payload = compress(plain);
        if (payload === undefined) return;
        const at = place % payload.length;
        const changed = way === 0 ? payload.slice() : payload.slice(0, way === 1 ? at : payload.length);
        if (way === 0) changed[at] = value;
        const hostile = way === 2 ? new Uint8Array([...changed, value]) : changed;
        const result = decompress(hostile, plain.length);
        if (result !== undefined) expect(result.length).toBe(plain.length);
      }),
      { numRuns: 500 },
    );
  });

  test('a true payload under any other length is nothing', () => {
    const plain = new Uint8Array(5000);
    const payload = compress(plain)!;
    for (const plainBytes of [0, 1, payload.length, 4999, 5001, RECORD_BYTES_MAX])
      expect(decompress(payload, plainBytes), String(plainBytes)).toBeUndefined();
  });

  test('a length beyond a record, or that is none, is refused before anything is allocated [REC-5]', () => {
    const payload = compress(new Uint8Array(RECORD_BYTES_MAX))!;
    expect(decompress(payload, RECORD_BYTES_MAX)).toHaveLength(RECORD_BYTES_MAX);
    for (const plainBytes of [RECORD_BYTES_MAX + 1, 0xffffffff, 2 ** 40, -1, 0.5, Number.NaN])
      expect(decompress(payload, plainBytes), String(plainBytes)).toBeUndefined();
  });

  test('the six bytes that stall the package on its own are refused at once', () => {
    const started = performance.now();
    for (let turn = 0; turn < 1000; turn++)
      expect(decompress(new Uint8Array([0xff, 0xff, 0xff, 0xff, 0, 0]), 100)).toBeUndefined();
    expect(performance.now() - started).toBeLessThan(1000);
  });

  test('a payload that is not shorter than its plaintext is refused', () => {
    // A literal run of 10 bytes: valid LZ4, but 11 bytes long [REC-5].
    const payload = new Uint8Array([0xa0, ...new Array<number>(10).fill(7)]);
    expect(decompress(payload, 10)).toBeUndefined();
    expect(decompress(payload, 11)).toBeUndefined();
  });
});
