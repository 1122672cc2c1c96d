/**
 * The crypto provider that works wherever Node does: `node:crypto`, that is OpenSSL.
 *
 * The one file of the pure rooms that imports a `node:*` module. `openssl-suite.ts` is quicker and
 * takes its place where it can; the port and its promises are in `suite.ts`. Left out: asynchronous and worker-thread variants, since a
 * call costs 3 us to 25 us.
 */

import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  type KeyObject,
} from 'node:crypto';
import { assert } from '../base/assert.ts';
import {
  AEAD_KEY_BYTES,
  AEAD_NONCE_BYTES,
  AEAD_TAG_BYTES,
  type Aead,
  DH_BYTES,
  type KeyPair,
  type Suite,
} from './suite.ts';

const ALGORITHM = 'aes-256-gcm';

/** Imported private keys by pair: an import costs as much as a key agreement. */
const privateKeys = new WeakMap<KeyPair, KeyObject>();

/** The `node:crypto` provider. */
export const nodeSuite: Suite = {
  name: 'node',

  sha256(...parts) {
    const hash = createHash('sha256');
    for (const part of parts) hash.update(part);
    return plainBytes(hash.digest());
  },

  hmacSha256(key, ...parts) {
    const hmac = createHmac('sha256', key);
    for (const part of parts) hmac.update(part);
    return plainBytes(hmac.digest());
  },

  keyPair(privateKey) {
    assert(privateKey.length === DH_BYTES, 'an X25519 private key has 32 bytes');
    const imported = importPrivateKey(privateKey);
    const { x } = createPublicKey(imported).export({ format: 'jwk' });
    assert(x !== undefined, 'an exported X25519 key names its public point');
    const pair: KeyPair = {
      privateKey: new Uint8Array(privateKey),
      publicKey: new Uint8Array(Buffer.from(x, 'base64url')),
    };
    privateKeys.set(pair, imported);
    return pair;
  },

  dh(pair, publicKey) {
    if (publicKey.length !== DH_BYTES) return undefined;
    let privateKey = privateKeys.get(pair);
    if (privateKey === undefined) {
      privateKey = importPrivateKey(pair.privateKey);
      privateKeys.set(pair, privateKey);
    }
    try {
      const shared = diffieHellman({ privateKey, publicKey: importPublicKey(publicKey) });
      return isZero(shared) ? undefined : plainBytes(shared);
    } catch {
      // OpenSSL fails the derivation when the secret is all zero; another `node:crypto` may give zeros.
      return undefined;
    }
  },

  aead(key) {
    return new NodeAead(key);
  },
};

const EMPTY = Buffer.alloc(0);

class NodeAead implements Aead {
  #key: KeyObject;

  constructor(key: Uint8Array) {
    assert(key.length === AEAD_KEY_BYTES, 'an AES-256 key has 32 bytes');
    this.#key = createSecretKey(key);
  }

  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array, into: Uint8Array, at: number): number {
    const sealedBytes = plaintext.length + AEAD_TAG_BYTES;
    assert(nonce.length === AEAD_NONCE_BYTES, 'a nonce has 12 bytes');
    assert(at + sealedBytes <= into.length, 'no room for the sealed bytes');
    const cipher = createCipheriv(ALGORITHM, this.#key, nonce);
    if (aad.length > 0) cipher.setAAD(aad);
    if (plaintext.length > 0) into.set(cipher.update(plaintext), at);
    cipher.final();
    into.set(cipher.getAuthTag(), at + plaintext.length);
    return sealedBytes;
  }

  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array, into: Uint8Array, at: number): number {
    if (at + sealed.length - AEAD_TAG_BYTES > into.length) return -1;
    // Copied only when the tag holds, so that no byte of a forgery reaches the caller's buffer.
    const plaintext = this.openNew(nonce, aad, sealed);
    if (plaintext === undefined) return -1;
    into.set(plaintext, at);
    return plaintext.length;
  }

  openNew(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    assert(nonce.length === AEAD_NONCE_BYTES, 'a nonce has 12 bytes');
    const plaintextBytes = sealed.length - AEAD_TAG_BYTES;
    if (plaintextBytes < 0) return undefined;
    const decipher = createDecipheriv(ALGORITHM, this.#key, nonce);
    decipher.setAuthTag(sealed.subarray(plaintextBytes));
    if (aad.length > 0) decipher.setAAD(aad);
    const plaintext = plaintextBytes > 0 ? decipher.update(sealed.subarray(0, plaintextBytes)) : EMPTY;
    try {
      decipher.final();
    } catch {
      return undefined;
    }
    return plainBytes(plaintext);
  }

  sealParts(nonce: Uint8Array, head: Uint8Array, body: Uint8Array, into: Uint8Array, at: number): number {
    const sealedBytes = head.length + body.length + AEAD_TAG_BYTES;
    assert(nonce.length === AEAD_NONCE_BYTES, 'a nonce has 12 bytes');
    assert(at + sealedBytes <= into.length, 'no room for the sealed bytes');
    const cipher = createCipheriv(ALGORITHM, this.#key, nonce);
    if (head.length > 0) into.set(cipher.update(head), at);
    if (body.length > 0) into.set(cipher.update(body), at + head.length);
    cipher.final();
    into.set(cipher.getAuthTag(), at + head.length + body.length);
    return sealedBytes;
  }

  openInPlace(nonce: Uint8Array, sealed: Uint8Array): number {
    const plaintext = this.openNew(nonce, EMPTY, sealed);
    if (plaintext === undefined) return -1;
    sealed.set(plaintext);
    return plaintext.length;
  }

  /** The key's bytes are in a key object, which clears them when it is collected. */
  wipe(): void {
    this.#key = NO_KEY;
  }
}

/** Of a length that no cipher takes. */
const NO_KEY = createSecretKey(new Uint8Array(1));

/**
 * Imports raw private bytes. As JWK it takes 22 us where PKCS #8 takes 300 us (Node 20). Node 20 and 24
 * compute the public point from `d` and only demand that `x` be present, so any text of its length
 * serves; Node 26 compares the two, and takes PKCS #8.
 */
function importPrivateKey(privateKey: Uint8Array): KeyObject {
  if (!comparesPoints) {
    try {
      const d = base64Url(privateKey);
      const key = { kty: 'OKP', crv: 'X25519', d, x: PLACEHOLDER_POINT };
      return createPrivateKey({ key, format: 'jwk' });
    } catch {
      comparesPoints = true;
    }
  }
  const key = Buffer.concat([PKCS8_PREFIX, privateKey]);
  return createPrivateKey({ key, format: 'der', type: 'pkcs8' });
}

/** Found out at the first key. */
let comparesPoints = false;
const PLACEHOLDER_POINT = base64Url(new Uint8Array(DH_BYTES));
/** RFC 8410: what stands before the 32 bytes of an X25519 private key. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');

/** Imports a raw public key: 4 us as JWK, 62 us as SPKI. */
function importPublicKey(publicKey: Uint8Array): KeyObject {
  return createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x: base64Url(publicKey) }, format: 'jwk' });
}

function base64Url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64url');
}

/** The same memory as a plain `Uint8Array`: `Buffer.slice` shares bytes where `Uint8Array.slice` copies. */
function plainBytes(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}

function isZero(bytes: Uint8Array): boolean {
  let any = 0;
  for (const byte of bytes) any |= byte;
  return any === 0;
}
