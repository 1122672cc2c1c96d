/**
 * What each node holds, in short: a digest for each of 64 parts of its objects [DIG-1]. The catalog keeps
 * them as it changes, a node computes its own when it joins, and only parts that differ are compared
 * object by object.
 */

import { BUCKET_DIGEST_BYTES, BUCKET_MAP_BYTES, BUCKETS } from '../wire/index.ts';

/** Which bytes of a hash go into the digest: those of its first half that the bucket is not chosen by. */
const DIGEST_AT = 8;
const DIGESTS_BYTES = BUCKETS * BUCKET_DIGEST_BYTES;

/** The part of an inventory that an object belongs to [DIG-1]. */
export function bucketOf(hash: Uint8Array): number {
  return hash[0]! % BUCKETS;
}

/** The digests of one set of objects: 64 x 8 bytes. */
export class Holdings {
  readonly digests = new Uint8Array(DIGESTS_BYTES);

  /** Adds an object, or takes it away again: `hash` may be its first half. */
  toggle(hash: Uint8Array): void {
    const at = bucketOf(hash) * BUCKET_DIGEST_BYTES;
    for (let index = 0; index < BUCKET_DIGEST_BYTES; index++) {
      this.digests[at + index] = this.digests[at + index]! ^ hash[DIGEST_AT + index]!;
    }
  }

  /** A bit for each bucket in which these differ from `digests`. */
  differencesFrom(digests: Uint8Array): Uint8Array {
    const differs = new Uint8Array(BUCKET_MAP_BYTES);
    for (let at = 0; at < DIGESTS_BYTES; at++) {
      if (this.digests[at] !== digests[at]) mark(differs, Math.floor(at / BUCKET_DIGEST_BYTES));
    }
    return differs;
  }
}

/** All buckets. */
export function allBuckets(): Uint8Array {
  return new Uint8Array(BUCKET_MAP_BYTES).fill(255);
}

/** Whether `map` names the bucket of an object. */
export function isInBuckets(map: Uint8Array, hash: Uint8Array): boolean {
  const bucket = bucketOf(hash);
  return ((map[bucket >>> 3]! >>> (bucket & 7)) & 1) === 1;
}

/** Whether `map` names no bucket. */
export function isNoBucket(map: Uint8Array): boolean {
  return map.every((byte) => byte === 0);
}

function mark(map: Uint8Array, bucket: number): void {
  map[bucket >>> 3] = map[bucket >>> 3]! | (1 << (bucket & 7));
}
