/**
 * The quickest crypto provider: the OpenSSL inside the node program, called directly.
 *
 * Same code as behind `node-suite.ts`, without an object and several copies for every operation: a
 * small AES-GCM call takes 0.6 us instead of 2.7, an HMAC 0.5 instead of 1.7, a key agreement
 * without key imports in text. `best-suite.ts` decides where it is used. The functions come from
 * outside (`native/libcrypto.ts`); sealing is in `openssl-aead.ts`.
 *
 * Lengths are checked here before every call. All that C writes to is memory of this file or an array
 * whose length was compared; no address of an array is kept.
 */

import { assert } from '../base/assert.ts';
import { type Handle, type Libcrypto, SHA256_STATE_BYTES } from '../native/libcrypto.ts';
import { CipherContexts, OpensslAead } from './openssl-aead.ts';
import { type Aead, DH_BYTES, HASH_BYTES, type KeyPair, type Suite } from './suite.ts';

/** EVP_PKEY_X25519. */
const X25519 = 1034;
/** Private keys that OpenSSL keeps from their making to their first agreement. */
export const KEPT_KEYS_MAX = 256;
const SHA256_BLOCK_BYTES = 64;
/** Input of a hash that is put together first, so that it takes one call. */
const GATHERED_BYTES_MAX = 1024;
const INNER_PAD = 0x36;
const OUTER_PAD = 0x5c;

export class OpensslSuite implements Suite {
  readonly name = 'openssl';
  readonly #libcrypto: Libcrypto;
  readonly #contexts: CipherContexts;
  /**
   * Importing a private key costs a scalar multiplication, so the key of a new pair is kept for its
   * first agreement, which is the only one of an ephemeral pair. The oldest goes when there are too many.
   */
  readonly #keptKeys = new Map<KeyPair, Handle>();

  readonly #initialState = outside(SHA256_STATE_BYTES);
  readonly #state = outside(SHA256_STATE_BYTES);
  readonly #gathered = outside(SHA256_BLOCK_BYTES + GATHERED_BYTES_MAX);
  readonly #digest = outside(HASH_BYTES);
  readonly #privateKey = outside(DH_BYTES);
  readonly #publicKey = outside(DH_BYTES);
  readonly #shared = outside(DH_BYTES);
  readonly #length = new BigUint64Array(new ArrayBuffer(8));

  constructor(libcrypto: Libcrypto) {
    this.#libcrypto = libcrypto;
    this.#contexts = new CipherContexts(libcrypto);
    assert(libcrypto.sha256Init(this.#initialState) === 1, 'OpenSSL has SHA-256');
  }

  /** Cipher contexts and private keys held in C memory. Both are bounded. */
  get held(): { readonly contexts: number; readonly keys: number } {
    return { contexts: this.#contexts.size, keys: this.#keptKeys.size };
  }

  sha256(...parts: readonly Uint8Array[]): Uint8Array {
    this.#hash(parts, 0);
    return this.#digest.slice();
  }

  hmacSha256(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
    const short = key.length > SHA256_BLOCK_BYTES ? this.sha256(key) : key;
    this.#pad(short, INNER_PAD);
    this.#hash(parts, SHA256_BLOCK_BYTES);
    this.#pad(short, OUTER_PAD);
    this.#gathered.set(this.#digest, SHA256_BLOCK_BYTES);
    this.#hash([], SHA256_BLOCK_BYTES + HASH_BYTES);
    const mac = this.#digest.slice();
    this.#gathered.fill(0, 0, SHA256_BLOCK_BYTES);
    this.#state.fill(0);
    this.#digest.fill(0);
    return mac;
  }

  keyPair(privateKey: Uint8Array): KeyPair {
    assert(privateKey.length === DH_BYTES, 'an X25519 private key has 32 bytes');
    const key = this.#importPrivateKey(privateKey);
    this.#length[0] = BigInt(DH_BYTES);
    const isGiven = this.#libcrypto.publicKeyOf(key, this.#publicKey, this.#length) === 1;
    const pair = { privateKey: new Uint8Array(privateKey), publicKey: this.#publicKey.slice() };
    this.#keptKeys.set(pair, key);
    if (this.#keptKeys.size > KEPT_KEYS_MAX) {
      const [oldest] = this.#keptKeys.keys();
      this.#libcrypto.keyFree(this.#takeKept(oldest!)!);
    }
    assert(isGiven, 'a private key has a public one');
    return pair;
  }

  dh(pair: KeyPair, publicKey: Uint8Array): Uint8Array | undefined {
    if (publicKey.length !== DH_BYTES) return undefined;
    const libcrypto = this.#libcrypto;
    const own = this.#takeKept(pair) ?? this.#importPrivateKey(pair.privateKey);
    this.#publicKey.set(publicKey);
    const peer = libcrypto.publicKeyNew(X25519, 0, this.#publicKey, DH_BYTES);
    const derivation = libcrypto.derivationNew(own, 0);
    this.#length[0] = BigInt(DH_BYTES);
    // OpenSSL fails the derivation when the secret is all zero.
    const isAgreed =
      Number(peer) !== 0 &&
      Number(derivation) !== 0 &&
      libcrypto.derivationInit(derivation) === 1 &&
      libcrypto.derivationPeer(derivation, peer) === 1 &&
      libcrypto.derive(derivation, this.#shared, this.#length) === 1 &&
      this.#length[0] === BigInt(DH_BYTES);
    if (Number(derivation) !== 0) libcrypto.derivationFree(derivation);
    if (Number(peer) !== 0) libcrypto.keyFree(peer);
    libcrypto.keyFree(own);
    if (!isAgreed) libcrypto.errorsClear();
    const shared = this.#shared.slice();
    this.#shared.fill(0);
    return isAgreed && !isZero(shared) ? shared : undefined;
  }

  aead(key: Uint8Array): Aead {
    return new OpensslAead(this.#contexts, key);
  }

  #importPrivateKey(privateKey: Uint8Array): Handle {
    assert(privateKey.length === DH_BYTES, 'an X25519 private key has 32 bytes');
    this.#privateKey.set(privateKey);
    const key = this.#libcrypto.privateKeyNew(X25519, 0, this.#privateKey, DH_BYTES);
    this.#privateKey.fill(0);
    assert(Number(key) !== 0, 'OpenSSL has X25519');
    return key;
  }

  /** The kept key of `pair`, which is the caller's to free from now on. */
  #takeKept(pair: KeyPair): Handle | undefined {
    const key = this.#keptKeys.get(pair);
    if (key !== undefined) this.#keptKeys.delete(pair);
    return key;
  }

  /** Hashes the first `gatheredBytes` of what is gathered, and `parts` behind them, into the digest. */
  #hash(parts: readonly Uint8Array[], gatheredBytes: number): void {
    let at = gatheredBytes;
    this.#state.set(this.#initialState);
    for (const part of parts) {
      if (at + part.length > this.#gathered.length) {
        this.#feed(this.#gathered, at);
        at = 0;
      }
      if (part.length > this.#gathered.length) {
        this.#feed(part, part.length);
      } else {
        this.#gathered.set(part, at);
        at += part.length;
      }
    }
    this.#feed(this.#gathered, at);
    assert(this.#libcrypto.sha256Final(this.#digest, this.#state) === 1, 'SHA-256 ends');
  }

  #feed(bytes: Uint8Array, length: number): void {
    assert(length <= bytes.length, 'no more than there is');
    if (length === 0) return;
    assert(this.#libcrypto.sha256Update(this.#state, bytes, length) === 1, 'SHA-256 goes on');
  }

  #pad(key: Uint8Array, pad: number): void {
    for (let index = 0; index < key.length; index++) this.#gathered[index] = key[index]! ^ pad;
    this.#gathered.fill(pad, key.length, SHA256_BLOCK_BYTES);
  }
}

function isZero(bytes: Uint8Array): boolean {
  let any = 0;
  for (const byte of bytes) any |= byte;
  return any === 0;
}

/** Memory outside of V8's heap from the start. */
function outside(bytes: number): Uint8Array {
  return new Uint8Array(new ArrayBuffer(bytes));
}
