/**
 * HKDF-SHA-256 (RFC 5869) and the one way in which Gramline derives keys from secrets by label.
 *
 * Used by `noise.ts`, `cluster-keys.ts` and `packet-protection.ts`.
 */

import { assert } from '../base/assert.ts';
import { utf8 } from '../base/bytes.ts';
import { HASH_BYTES, type Suite } from './suite.ts';

/** The most that one expansion gives (RFC 5869 section 2.3): the block counter is one byte. */
export const HKDF_BYTES_MAX = 255 * HASH_BYTES;

const LABEL_PREFIX = 'gramline ';

/** HKDF-Extract: a 32-byte pseudorandom key from input of any shape. An empty salt counts as zeros. */
export function hkdfExtract(suite: Suite, salt: Uint8Array, ikm: Uint8Array): Uint8Array {
  return suite.hmacSha256(salt, ikm);
}

/**
 * HKDF-Expand: `bytes` bytes from a pseudorandom key, bound to `info`.
 *
 * @param bytes 0 to {@link HKDF_BYTES_MAX}.
 * @throws AssertionError when more is asked for.
 */
export function hkdfExpand(suite: Suite, prk: Uint8Array, info: Uint8Array, bytes: number): Uint8Array {
  assert(Number.isInteger(bytes) && bytes >= 0 && bytes <= HKDF_BYTES_MAX, 'HKDF gives 255 blocks at most');
  const output = new Uint8Array(bytes);
  const counter = new Uint8Array(1);
  let block: Uint8Array = new Uint8Array(0);
  for (let at = 0; at < bytes; at += HASH_BYTES) {
    counter[0]!++;
    block = suite.hmacSha256(prk, block, info, counter);
    output.set(block.subarray(0, Math.min(HASH_BYTES, bytes - at)), at);
  }
  return output;
}

/** HKDF: extract, then expand. */
export function hkdf(
  suite: Suite,
  salt: Uint8Array,
  ikm: Uint8Array,
  info: Uint8Array,
  bytes: number,
): Uint8Array {
  const prk = hkdfExtract(suite, salt, ikm);
  const output = hkdfExpand(suite, prk, info, bytes);
  prk.fill(0);
  return output;
}

/**
 * A key derived from a 32-byte pseudorandom secret for the one purpose that `label` names [KEY-1].
 *
 * @example expandLabel(suite, secret, 'control')
 */
export function expandLabel(suite: Suite, secret: Uint8Array, label: string, bytes = HASH_BYTES): Uint8Array {
  return hkdfExpand(suite, secret, utf8(LABEL_PREFIX + label), bytes);
}
