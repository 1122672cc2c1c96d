import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RecordAssembly } from '../../src/reliability/index.ts';

function content(bytes: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, index) => (index * 31 + (index >>> 8)) & 0xff);
}

describe('the reassembly of a record', () => {
  it('gives exactly the record, however it is cut, repeated, overlapped and shuffled [SEG-2]', () => {
    const cutting = fc.integer({ min: 1, max: 400 }).chain((bytes) =>
      fc.record({
        bytes: fc.constant(bytes),
        cuts: fc.array(fc.nat(bytes), { maxLength: 12 }),
        extra: fc.array(fc.tuple(fc.nat(bytes - 1), fc.integer({ min: 1, max: bytes })), { maxLength: 8 }),
        order: fc.array(fc.nat(), { minLength: 24, maxLength: 24 }),
      }),
    );
    fc.assert(
      fc.property(cutting, ({ bytes, cuts, extra, order }) => {
        const record = content(bytes);
        const edges = [...new Set([0, ...cuts, bytes])].sort((left, right) => left - right);
        const segments = edges.slice(1).map((end, index) => [edges[index]!, end] as const);
        for (const [start, length] of extra) segments.push([start, Math.min(bytes, start + length)]);
        const shuffled = segments
          .map((segment, index) => ({ segment, key: order[index % order.length]! }))
          .sort((left, right) => left.key - right.key)
          .map(({ segment }) => segment);
        const assembly = new RecordAssembly(bytes);
        const arrived = new Set<number>();
        for (const [start, end] of shuffled) {
          const fresh = [...Array(end - start).keys()].some((index) => !arrived.has(start + index));
          for (let at = start; at < end; at++) arrived.add(at);
          expect(assembly.add(start, record.subarray(start, end), bytes)).toBe(fresh ? 'fresh' : 'known');
          expect(assembly.complete).toBe(arrived.size === bytes);
        }
        expect(assembly.complete).toBe(true);
        expect(assembly.bytes).toEqual(record);
      }),
      { numRuns: 400 },
    );
  });

  it('notices a segment that states another length of the record, and takes nothing from it', () => {
    const assembly = new RecordAssembly(10);
    expect(assembly.add(0, content(5), 11)).toBe('length-changed');
    expect(assembly.bytes).toEqual(new Uint8Array(10));
  });

  it('copies the bytes, so that the datagram’s buffer may be used again', () => {
    const assembly = new RecordAssembly(4);
    const payload = Uint8Array.of(1, 2, 3, 4);
    assembly.add(0, payload, 4);
    payload.fill(9);
    expect([...assembly.bytes]).toEqual([1, 2, 3, 4]);
  });
});
