/** The index of the catalog against a Map, its naive twin. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CatalogIndex, SEGMENT_SLOTS_MAX } from '../../src/nodes/catalog-index.ts';

interface Known {
  readonly bytes: number;
  /** Undefined: the state store is to be asked. */
  readonly replicas: readonly number[] | undefined;
}

/** Names whose first 16 bytes follow from `n`, alike in all else. */
function name(n: number): Uint8Array {
  const hash = new Uint8Array(32);
  const view = new DataView(hash.buffer);
  view.setUint32(0, Math.imul(n + 1, 0x9e3779b1));
  view.setUint32(4, n >>> 3);
  view.setUint32(12, n);
  return hash;
}

function read(index: CatalogIndex, hash: Uint8Array): Known | undefined {
  switch (index.find(hash)) {
    case 'here':
      return { bytes: index.bytes, replicas: [...index.replicas.subarray(0, index.count)] };
    case 'elsewhere':
      return { bytes: 0, replicas: undefined };
    case 'unknown':
      return undefined;
  }
}

const size = fc.oneof(fc.nat(), fc.constantFrom(0, 2 ** 32 - 1, 2 ** 32, 2 ** 48 - 1));
const replicas = fc.array(fc.oneof(fc.nat(3), fc.constantFrom(0, 65_535)), { maxLength: 8, size: 'max' });
const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ at: fc.nat(400), bytes: size, replicas: fc.option(replicas, { nil: undefined }) }),
  },
  { weight: 3, arbitrary: fc.record({ at: fc.nat(400) }) },
);

describe('the index of the catalog', () => {
  it('does what a map does, whatever the order of changes', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 8, maxLength: 8 }),
        fc.array(step, { size: 'max', maxLength: 2_000 }),
        (seed, steps) => {
          const index = new CatalogIndex(seed);
          const twin = new Map<number, Known>();
          for (const change of steps) {
            if ('bytes' in change) {
              const known = change.replicas === undefined ? { bytes: 0, replicas: undefined } : change;
              expect(index.put(name(change.at), known.bytes, known.replicas, known.replicas?.length)).toBe(
                true,
              );
              twin.set(change.at, { bytes: known.bytes, replicas: known.replicas });
            } else expect(index.delete(name(change.at))).toBe(twin.delete(change.at));
            expect(read(index, name(change.at))).toEqual(twin.get(change.at));
          }
          expect(index.size).toBe(twin.size);
          for (let n = 0; n <= 400; n++) expect(read(index, name(n))).toEqual(twin.get(n));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('keeps all of many while its segments are cut, and gives their memory a bound', () => {
    const index = new CatalogIndex(Uint8Array.from([1, 2, 3, 4, 5, 6, 7, 8]));
    const count = 12 * SEGMENT_SLOTS_MAX;
    for (let n = 0; n < count; n++) index.put(name(n), n, [n % 7, n % 5], 2);
    expect(index.size).toBe(count);
    for (let n = 0; n < count; n++) {
      if (index.find(name(n)) !== 'here' || index.bytes !== n || index.replicas[1] !== n % 5)
        expect.fail(`${n}`);
    }
    expect(index.find(name(count))).toBe('unknown');
    expect(index.memoryBytes / count).toBeLessThan(28 / 0.55);
    for (let n = 0; n < count; n += 2) expect(index.delete(name(n))).toBe(true);
    for (let n = 0; n < count; n++) expect(index.find(name(n))).toBe(n % 2 === 0 ? 'unknown' : 'here');
  });

  it('uses the room of long lists of replicas again', () => {
    const index = new CatalogIndex();
    const eight = [1, 2, 3, 4, 5, 6, 7, 8];
    index.put(name(0), 1, eight, 8);
    const { memoryBytes } = index;
    for (let n = 0; n < 5_000; n++) {
      index.put(name(0), 1, eight, 3 + (n % 6));
      if (n % 3 === 0) index.delete(name(0));
      if (n % 5 === 0) index.put(name(0), 1, eight, 2);
    }
    expect(index.memoryBytes).toBe(memoryBytes);
  });

  it('tells names apart that differ in the second half of the first half alone', () => {
    const index = new CatalogIndex();
    const near = Array.from({ length: 60 }, (_, n) => new Uint8Array(32).fill(n, 15, 16));
    for (const [n, hash] of near.entries()) index.put(hash, n, [n], 1);
    for (const [n, hash] of near.entries()) expect(read(index, hash)).toEqual({ bytes: n, replicas: [n] });
  });

  it('says that it is full when names that only its owner could choose fill a segment', () => {
    const index = new CatalogIndex();
    const same = (n: number): Uint8Array => {
      const hash = new Uint8Array(32);
      new DataView(hash.buffer).setUint32(8, n);
      return hash;
    };
    let taken = 0;
    while (index.put(same(taken), taken, [1], 1)) taken += 1;
    expect(taken).toBe((SEGMENT_SLOTS_MAX * 7) / 8);
    expect([index.size, index.find(same(taken)), index.find(same(taken - 1))]).toEqual([
      taken,
      'unknown',
      'here',
    ]);
    // What is known already can change all the same.
    expect(index.put(same(0), 9, [2], 1)).toBe(true);
    expect(read(index, same(0))).toEqual({ bytes: 9, replicas: [2] });
  });
});
