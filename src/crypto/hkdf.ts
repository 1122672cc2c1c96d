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
const FIRST_BLOCK = Uint8Array.of(1);

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
  if (bytes === HASH_BYTES) return suite.hmacSha256(prk, info, FIRST_BLOCK);
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
 * The outputs of HKDF without info as arrays of 32 bytes each, as Noise asks for them: section 4.3.
 *
 * @param count 1 to {@link HKDF_BYTES_MAX} / 32.
 */
export function hkdfBlocks(
  suite: Suite,
  salt: Uint8Array,
  ikm: Uint8Array,
  count: number,
): [Uint8Array, ...Uint8Array[]] {
  assert(count >= 1 && count * HASH_BYTES <= HKDF_BYTES_MAX, 'HKDF gives 1 to 255 blocks');
  const prk = hkdfExtract(suite, salt, ikm);
  const blocks: [Uint8Array, ...Uint8Array[]] = [suite.hmacSha256(prk, FIRST_BLOCK)];
  for (let number = 2; number <= count; number++) {
    blocks.push(suite.hmacSha256(prk, blocks[number - 2]!, Uint8Array.of(number)));
  }
  prk.fill(0);
  return blocks;
}

/** The info of {@link expandLabel}, to be encoded once for a label that is used often [KEY-1]. */
export function labelInfo(label: string): Uint8Array {
  return utf8(LABEL_PREFIX + label);
}

/**
 * A key derived from a 32-byte pseudorandom secret for the one purpose that `label` names [KEY-1].
 *
 * @example expandLabel(suite, secret, 'control')
 */
export function expandLabel(suite: Suite, secret: Uint8Array, label: string, bytes = HASH_BYTES): Uint8Array {
  return hkdfExpand(suite, secret, labelInfo(label), bytes);
}
