/**
 * The portable crypto provider, in plain JavaScript: `@noble/ciphers`, `curves` and `hashes`.
 *
 * The second opinion in tests and the provider where there is no `node:crypto`; it is 10 to 30 times
 * slower. Its twin is `node-suite.ts`; the port and its promises are in `suite.ts`.
 */

import { gcm } from '@noble/ciphers/aes.js';
import { x25519 } from '@noble/curves/ed25519.js';
import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { assert } from '../base/assert.ts';
import { concatBytes } from '../base/bytes.ts';
import {
  AEAD_KEY_BYTES,
  AEAD_NONCE_BYTES,
  AEAD_TAG_BYTES,
  type Aead,
  DH_BYTES,
  type Suite,
} from './suite.ts';

/** The `@noble/*` provider. */
export const nobleSuite: Suite = {
  name: 'noble',

  sha256(...parts) {
    const hash = sha256.create();
    for (const part of parts) hash.update(part);
    return hash.digest();
  },

  hmacSha256(key, ...parts) {
    const mac = hmac.create(sha256, key);
    for (const part of parts) mac.update(part);
    return mac.digest();
  },

  keyPair(privateKey) {
    assert(privateKey.length === DH_BYTES, 'an X25519 private key has 32 bytes');
    return { privateKey: new Uint8Array(privateKey), publicKey: x25519.getPublicKey(privateKey) };
  },

  dh(pair, publicKey) {
    if (publicKey.length !== DH_BYTES) return undefined;
    try {
      return x25519.getSharedSecret(pair.privateKey, publicKey);
    } catch {
      // Thrown when the secret is all zero.
      return undefined;
    }
  },

  aead(key) {
    return new NobleAead(key);
  },
};

class NobleAead implements Aead {
  readonly #key: Uint8Array;
  #wiped = false;

  constructor(key: Uint8Array) {
    assert(key.length === AEAD_KEY_BYTES, 'an AES-256 key has 32 bytes');
    this.#key = new Uint8Array(key);
  }

  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array, into: Uint8Array, at: number): number {
    const sealedBytes = plaintext.length + AEAD_TAG_BYTES;
    assert(nonce.length === AEAD_NONCE_BYTES, 'a nonce has 12 bytes');
    assert(at + sealedBytes <= into.length, 'no room for the sealed bytes');
    assert(!this.#wiped, 'the key was wiped');
    into.set(gcm(this.#key, nonce, aad).encrypt(plaintext), at);
    return sealedBytes;
  }

  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array, into: Uint8Array, at: number): number {
    if (at + sealed.length - AEAD_TAG_BYTES > into.length) return -1;
    const plaintext = this.openNew(nonce, aad, sealed);
    if (plaintext === undefined) return -1;
    into.set(plaintext, at);
    return plaintext.length;
  }

  openNew(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    assert(nonce.length === AEAD_NONCE_BYTES, 'a nonce has 12 bytes');
    assert(!this.#wiped, 'the key was wiped');
    if (sealed.length < AEAD_TAG_BYTES) return undefined;
    try {
      return gcm(this.#key, nonce, aad).decrypt(sealed);
    } catch {
      return undefined;
    }
  }

  sealParts(nonce: Uint8Array, head: Uint8Array, body: Uint8Array, into: Uint8Array, at: number): number {
    return this.seal(nonce, EMPTY, concatBytes(head, body), into, at);
  }

  openInPlace(nonce: Uint8Array, sealed: Uint8Array): number {
    return this.open(nonce, EMPTY, sealed, sealed, 0);
  }

  wipe(): void {
    this.#key.fill(0);
    this.#wiped = true;
  }
}

const EMPTY = new Uint8Array(0);
