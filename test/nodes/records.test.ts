import { describe, expect, it } from 'vitest';
import { type Micros, micros } from '../../src/base/units.ts';
import type { Compression } from '../../src/nodes/ports.ts';
import { RecordPacker } from '../../src/nodes/records.ts';
import { RecordEncoding } from '../../src/wire/index.ts';

function counting(shrinks: boolean): Compression & { tries: number } {
  return {
    tries: 0,
    compress() {
      this.tries += 1;
      return shrinks ? Uint8Array.of(1) : undefined;
    },
    decompress: () => undefined,
  };
}

/** A clock that stands. */
const still = (): Micros => micros(0);

/** Encodings of `count` records when compressing one takes `cost` and halves it, and sending a stored one takes `pace`. */
function encodings(cost: number, pace: number, count: number): RecordEncoding[] {
  let now = 0;
  const compression: Compression = {
    compress(plain) {
      now += cost;
      return plain.subarray(0, plain.length / 2);
    },
    decompress: () => undefined,
  };
  const packer = new RecordPacker(compression, () => micros(now));
  return Array.from({ length: count }, () => {
    const { encoding } = packer.pack(new Uint8Array(100), 0);
    now += encoding === RecordEncoding.STORED ? pace : pace / 2;
    return encoding;
  });
}

const share = (list: readonly RecordEncoding[]): number =>
  list.filter((encoding) => encoding === RecordEncoding.LZ4).length / list.length;

describe('records', () => {
  it('are compressed where that helps and say so', () => {
    const record = new RecordPacker(counting(true), still).pack(new Uint8Array(100), 7);
    expect(record).toMatchObject({ encoding: RecordEncoding.LZ4, plainBytes: 100, dataLeft: 7 });
    expect(record.payload).toHaveLength(1);
  });

  it('are stored where it does not help, as the very same bytes', () => {
    const plain = new Uint8Array(100);
    const record = new RecordPacker(counting(false), still).pack(plain, 0);
    expect(record.encoding).toBe(RecordEncoding.STORED);
    expect(record.payload).toBe(plain);
  });

  it('of data that does not shrink are tried ever more rarely, but never given up', () => {
    const compression = counting(false);
    const packer = new RecordPacker(compression, still);
    for (let index = 0; index < 1_000; index++) packer.pack(new Uint8Array(10), 0);
    expect(compression.tries).toBeGreaterThan(10);
    expect(compression.tries).toBeLessThan(40);
  });

  it('that shrink are compressed where the path is slower than the compressor', () => {
    expect(share(encodings(80, 500, 1_000))).toBeGreaterThan(0.9);
  });

  it('that shrink are stored where the path is quicker, and tried again now and then', () => {
    const list = encodings(80, 60, 1_000);
    expect(share(list)).toBeLessThan(0.05);
    expect(share(list.slice(500))).toBeGreaterThan(0);
  });
});
