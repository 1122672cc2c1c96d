import { describe, expect, it } from 'vitest';
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

describe('records', () => {
  it('are compressed where that helps and say so', () => {
    const record = new RecordPacker(counting(true)).pack(new Uint8Array(100), 7);
    expect(record).toMatchObject({ encoding: RecordEncoding.LZ4, plainBytes: 100, dataLeft: 7 });
    expect(record.payload).toHaveLength(1);
  });

  it('are stored where it does not help, as the very same bytes', () => {
    const plain = new Uint8Array(100);
    const record = new RecordPacker(counting(false)).pack(plain, 0);
    expect(record.encoding).toBe(RecordEncoding.STORED);
    expect(record.payload).toBe(plain);
  });

  it('of data that does not shrink are tried ever more rarely, but never given up', () => {
    const compression = counting(false);
    const packer = new RecordPacker(compression);
    for (let index = 0; index < 1_000; index++) packer.pack(new Uint8Array(10), 0);
    expect(compression.tries).toBeGreaterThan(10);
    expect(compression.tries).toBeLessThan(40);
  });
});
