import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { allBuckets, bucketOf, Holdings, isInBuckets, isNoBucket } from '../../src/nodes/holdings.ts';
import { BUCKETS, HASH_BYTES } from '../../src/wire/index.ts';

const hash = fc.uint8Array({ minLength: HASH_BYTES, maxLength: HASH_BYTES });
const hashes = fc.uniqueArray(hash, { comparator: (a, b) => Buffer.compare(a, b) === 0, maxLength: 40 });

function of(objects: readonly Uint8Array[]): Holdings {
  const holdings = new Holdings();
  for (const object of objects) holdings.toggle(object);
  return holdings;
}

describe('digests of what a node holds [DIG-1]', () => {
  it('are those of a plain count, whatever the order', () => {
    fc.assert(
      fc.property(hashes, (objects) => {
        const expected = Array.from({ length: BUCKETS }, (_, bucket) => {
          const own = objects.filter((object) => object[0]! % 64 === bucket);
          return Array.from({ length: 8 }, (_byte, index) =>
            own.reduce((xor, object) => xor ^ object[8 + index]!, 0),
          );
        });
        expect([...of(objects).digests]).toEqual(expected.flat());
        expect(of([...objects].reverse()).digests).toEqual(of(objects).digests);
      }),
    );
  });

  it('differ in the buckets of the objects that one side lacks, and in no other [DIG-2]', () => {
    fc.assert(
      fc.property(hashes, hashes, (common, more) => {
        const differs = of([...common, ...more]).differencesFrom(of(common).digests);
        for (let bucket = 0; bucket < BUCKETS; bucket++) {
          const own = more.filter((object) => bucketOf(object) === bucket);
          const digest = of(own).digests;
          const isNamed = ((differs[bucket >>> 3]! >>> (bucket & 7)) & 1) === 1;
          expect(isNamed).toBe(digest.some((byte) => byte !== 0));
        }
      }),
    );
  });

  it('forget an object that is taken away', () => {
    fc.assert(
      fc.property(hashes, hash, (objects, object) => {
        const holdings = of(objects);
        holdings.toggle(object);
        holdings.toggle(object);
        expect(isNoBucket(holdings.differencesFrom(of(objects).digests))).toBe(true);
      }),
    );
  });

  it('name all buckets, or the one of an object', () => {
    const object = new Uint8Array(HASH_BYTES).fill(200);
    expect(bucketOf(object)).toBe(8);
    const one = new Holdings();
    one.toggle(object);
    const map = one.differencesFrom(new Holdings().digests);
    expect([...map]).toEqual([0, 1, 0, 0, 0, 0, 0, 0]);
    expect([isInBuckets(map, object), isInBuckets(map, new Uint8Array(HASH_BYTES))]).toEqual([true, false]);
    expect(isInBuckets(allBuckets(), object)).toBe(true);
    expect(isNoBucket(allBuckets())).toBe(false);
  });
});
