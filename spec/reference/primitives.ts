/**
 * The algorithms that the protocol is built from, as plain functions: SHA-256, HMAC, HKDF, AES-256-GCM and
 * X25519 of `@noble/*`, and the label of [KEY-1].
 */

import { gcm } from '@noble/ciphers/aes.js';
import { x25519 } from '@noble/curves/ed25519.js';
import { hmac as nobleHmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';

export const TAG_BYTES = 16;
const HASH_BYTES = 32;

export function join(...parts: readonly ArrayLike<number>[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => Array.from(part)));
}

export function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

/** A number as `byteCount` bytes, most significant first. */
export function bigEndian(value: number, byteCount: number): Uint8Array {
  const bytes = new Uint8Array(byteCount);
  let rest = BigInt(value);
  for (let at = byteCount - 1; at >= 0; at--) {
    bytes[at] = Number(rest % 256n);
    rest /= 256n;
  }
  return bytes;
}

export function hash(...parts: readonly Uint8Array[]): Uint8Array {
  return sha256(join(...parts));
}

export function hmac(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  return nobleHmac(sha256, key, join(...parts));
}

/** HKDF-Extract of RFC 5869 section 2.2. */
export function extract(salt: Uint8Array, input: Uint8Array): Uint8Array {
  return hmac(salt, input);
}

/** HKDF-Expand of RFC 5869 section 2.3. */
export function expand(key: Uint8Array, info: Uint8Array, byteCount: number): Uint8Array {
  let output = new Uint8Array(0);
  let block = new Uint8Array(0);
  for (let counter = 1; output.length < byteCount; counter++) {
    block = Uint8Array.from(hmac(key, block, info, Uint8Array.of(counter)));
    output = Uint8Array.from(join(output, block));
  }
  return output.slice(0, byteCount);
}

/** [KEY-1] */
export function label(secret: Uint8Array, name: string, byteCount = HASH_BYTES): Uint8Array {
  return expand(secret, ascii(`gramline ${name}`), byteCount);
}

/** A nonce of 12 bytes: a number in 4 bytes and another one in 8. */
export function nonceOf(first: number, second: number): Uint8Array {
  return join(bigEndian(first, 4), bigEndian(second, 8));
}

export function seal(
  key: Uint8Array,
  nonce: Uint8Array,
  data: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array {
  return gcm(key, nonce, data).encrypt(plaintext);
}

/** The plaintext, or undefined when the tag does not hold. */
export function open(
  key: Uint8Array,
  nonce: Uint8Array,
  data: Uint8Array,
  sealed: Uint8Array,
): Uint8Array | undefined {
  if (sealed.length < TAG_BYTES) return undefined;
  try {
    return gcm(key, nonce, data).decrypt(sealed);
  } catch {
    return undefined;
  }
}

export function publicKeyOf(privateKey: Uint8Array): Uint8Array {
  return x25519.getPublicKey(privateKey);
}

/** The shared secret of X25519, or undefined when it is all zero [HS-6]. */
export function agree(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array | undefined {
  try {
    return x25519.getSharedSecret(privateKey, publicKey);
  } catch {
    // The package throws for exactly that result.
    return undefined;
  }
}
