/**
 * AES-256-GCM on the functions of `native/libcrypto.ts`: cipher contexts that are used again, and
 * nothing allocated by a call but views.
 *
 * A context holds one key's schedule, 1 KiB. There are {@link CIPHER_CONTEXTS_MAX} at most, lent to
 * the keys in use in turn: a key that finds another in its place sets itself anew, which costs 0.1 us.
 * So ten thousand idle sessions keep 32 bytes a key, no context outlives its owner's trust in it, and
 * there is nothing that a finalizer would have to free.
 */

import { assert } from '../base/assert.ts';
import type { Handle, Libcrypto } from '../native/libcrypto.ts';
import { AEAD_KEY_BYTES, AEAD_NONCE_BYTES, AEAD_TAG_BYTES, type Aead } from './suite.ts';

export const CIPHER_CONTEXTS_MAX = 256;

const SEAL = 1;
const OPEN = 0;
/** EVP_CTRL_AEAD_GET_TAG and EVP_CTRL_AEAD_SET_TAG. */
const GET_TAG = 0x10;
const SET_TAG = 0x11;
/**
 * Up to this length V8 keeps the bytes of an array inside its heap, and handing it to C moves them out
 * for good, which costs more than to copy them into memory that is outside already.
 */
const INSIDE_BYTES_MAX = 64;
const EMPTY = new Uint8Array(0);

/** A context and the key that it holds now. */
interface Slot {
  readonly context: Handle;
  owner: OpensslAead | undefined;
}

/** The contexts of one thread, and the memory through which small arguments pass. */
export class CipherContexts {
  readonly #libcrypto: Libcrypto;
  readonly #cipher: Handle;
  readonly #slots: Slot[] = [];
  /** Whose turn it is to be taken away. */
  #hand = 0;
  readonly #key = outside(AEAD_KEY_BYTES);
  readonly #nonce = outside(AEAD_NONCE_BYTES);
  readonly #aad = outside(INSIDE_BYTES_MAX);
  readonly #input = outside(INSIDE_BYTES_MAX);
  readonly #tag = outside(AEAD_TAG_BYTES);
  readonly #rest = outside(AEAD_TAG_BYTES * 2);
  readonly #written = new Int32Array(new ArrayBuffer(4));

  constructor(libcrypto: Libcrypto) {
    this.#libcrypto = libcrypto;
    this.#cipher = libcrypto.aes256Gcm();
    assert(Number(this.#cipher) !== 0, 'OpenSSL has AES-256-GCM');
  }

  /** How many there are: never more than {@link CIPHER_CONTEXTS_MAX}. */
  get size(): number {
    return this.#slots.length;
  }

  /** A context that holds `key` and `nonce` for one message. `slot` is where the key was last, if anywhere. */
  begin(owner: OpensslAead, slot: Slot | undefined, key: Uint8Array, nonce: Uint8Array, way: number): Slot {
    assert(nonce.length === AEAD_NONCE_BYTES, 'a nonce has 12 bytes');
    this.#nonce.set(nonce);
    if (slot !== undefined && slot.owner === owner) {
      this.#must(this.#libcrypto.cipherInit(slot.context, 0, 0, null, this.#nonce, way));
      return slot;
    }
    const isNew = this.#slots.length < CIPHER_CONTEXTS_MAX;
    const taken = isNew ? this.#add() : this.#slots[this.#hand++ % CIPHER_CONTEXTS_MAX]!;
    taken.owner = undefined;
    this.#key.set(key);
    const cipher = isNew ? this.#cipher : 0;
    const result = this.#libcrypto.cipherInit(taken.context, cipher, 0, this.#key, this.#nonce, way);
    this.#key.fill(0);
    this.#must(result);
    taken.owner = owner;
    return taken;
  }

  /** Overwrites the key in `slot`, if it is still that of `owner`. The context is for the next key. */
  forget(owner: OpensslAead, slot: Slot): void {
    if (slot.owner !== owner) return;
    slot.owner = undefined;
    this.#key.fill(0);
    this.#must(this.#libcrypto.cipherInit(slot.context, 0, 0, this.#key, null, SEAL));
  }

  addData(context: Handle, aad: Uint8Array): void {
    if (aad.length === 0) return;
    const bytes = aad.length <= INSIDE_BYTES_MAX ? this.#aad : aad;
    if (bytes === this.#aad) bytes.set(aad);
    this.#must(this.#libcrypto.cipherUpdate(context, null, this.#written, bytes, aad.length));
  }

  /** Turns `bytes` into as many at the beginning of `into`. They may be the same; see {@link apart}. */
  convert(context: Handle, bytes: Uint8Array, into: Uint8Array): void {
    const { length } = bytes;
    assert(length <= into.length, 'no room for the bytes');
    if (length === 0) return;
    const isInside = length <= INSIDE_BYTES_MAX && bytes !== into;
    if (isInside) this.#input.set(bytes);
    const from = isInside ? this.#input : bytes;
    this.#must(this.#libcrypto.cipherUpdate(context, into, this.#written, from, length));
    assert(this.#written[0] === length, 'GCM gives a byte for a byte');
    if (isInside) this.#input.fill(0, 0, length);
  }

  /** Ends a sealing: writes the tag to `into` from `at`. */
  finishTag(context: Handle, into: Uint8Array, at: number): void {
    this.#must(this.#libcrypto.cipherFinal(context, this.#rest, this.#written));
    this.#must(this.#libcrypto.cipherControl(context, GET_TAG, AEAD_TAG_BYTES, this.#tag));
    for (let index = 0; index < AEAD_TAG_BYTES; index++) into[at + index] = this.#tag[index]!;
  }

  /** Takes the tag at the end of `sealed` down, before the bytes are converted. */
  expectTag(context: Handle, sealed: Uint8Array): void {
    const at = sealed.length - AEAD_TAG_BYTES;
    for (let index = 0; index < AEAD_TAG_BYTES; index++) this.#tag[index] = sealed[at + index]!;
    this.#must(this.#libcrypto.cipherControl(context, SET_TAG, AEAD_TAG_BYTES, this.#tag));
  }

  /** Ends an opening: whether the tag holds. */
  finishHolds(context: Handle): boolean {
    const holds = this.#libcrypto.cipherFinal(context, this.#rest, this.#written) === 1;
    if (!holds) this.#libcrypto.errorsClear();
    return holds;
  }

  #add(): Slot {
    const context = this.#libcrypto.cipherContextNew();
    assert(Number(context) !== 0, 'no memory for a cipher context');
    const slot: Slot = { context, owner: undefined };
    this.#slots.push(slot);
    return slot;
  }

  /** OpenSSL fails these calls only when it is out of memory or given what we never give it. */
  #must(result: number): void {
    if (result === 1) return;
    this.#libcrypto.errorsClear();
    assert(false, 'OpenSSL failed a call of AES-256-GCM');
  }
}

export class OpensslAead implements Aead {
  readonly #contexts: CipherContexts;
  readonly #key: Uint8Array;
  #slot: Slot | undefined;
  #wiped = false;

  constructor(contexts: CipherContexts, key: Uint8Array) {
    assert(key.length === AEAD_KEY_BYTES, 'an AES-256 key has 32 bytes');
    this.#contexts = contexts;
    this.#key = new Uint8Array(key);
  }

  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array, into: Uint8Array, at: number): number {
    const sealedBytes = plaintext.length + AEAD_TAG_BYTES;
    const output = room(into, at, sealedBytes);
    const context = this.#begin(nonce, SEAL);
    this.#contexts.addData(context, aad);
    this.#contexts.convert(context, apart(plaintext, output, 0), output);
    this.#contexts.finishTag(context, output, plaintext.length);
    return sealedBytes;
  }

  sealParts(nonce: Uint8Array, head: Uint8Array, body: Uint8Array, into: Uint8Array, at: number): number {
    const sealedBytes = head.length + body.length + AEAD_TAG_BYTES;
    const output = room(into, at, sealedBytes);
    const context = this.#begin(nonce, SEAL);
    // Both are looked at before the first byte is written.
    const bodyApart = apart(body, output, head.length);
    this.#contexts.convert(context, apart(head, output, 0), output);
    this.#contexts.convert(context, bodyApart, head.length === 0 ? output : output.subarray(head.length));
    this.#contexts.finishTag(context, output, head.length + body.length);
    return sealedBytes;
  }

  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array, into: Uint8Array, at: number): number {
    assert(nonce.length === AEAD_NONCE_BYTES, 'a nonce has 12 bytes');
    const plaintextBytes = sealed.length - AEAD_TAG_BYTES;
    if (plaintextBytes < 0 || at + plaintextBytes > into.length) return -1;
    const output = room(into, at, plaintextBytes);
    const context = this.#begin(nonce, OPEN);
    this.#contexts.addData(context, aad);
    this.#contexts.expectTag(context, sealed);
    const bytes = plaintextBytes === 0 ? EMPTY : apart(sealed.subarray(0, plaintextBytes), output, 0);
    this.#contexts.convert(context, bytes, output);
    if (this.#contexts.finishHolds(context)) return plaintextBytes;
    output.fill(0, 0, plaintextBytes);
    return -1;
  }

  openNew(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
    const plaintext = new Uint8Array(Math.max(0, sealed.length - AEAD_TAG_BYTES));
    return this.open(nonce, aad, sealed, plaintext, 0) < 0 ? undefined : plaintext;
  }

  openInPlace(nonce: Uint8Array, sealed: Uint8Array): number {
    return this.open(nonce, EMPTY, sealed, sealed, 0);
  }

  wipe(): void {
    this.#key.fill(0);
    this.#wiped = true;
    if (this.#slot !== undefined) this.#contexts.forget(this, this.#slot);
    this.#slot = undefined;
  }

  #begin(nonce: Uint8Array, way: number): Handle {
    assert(!this.#wiped, 'the key was wiped');
    this.#slot = this.#contexts.begin(this, this.#slot, this.#key, nonce, way);
    return this.#slot.context;
  }
}

/** `into` from `at` on, which holds `bytes` or more: what C writes to goes no further. */
function room(into: Uint8Array, at: number, bytes: number): Uint8Array {
  assert(Number.isInteger(at) && at >= 0 && at + bytes <= into.length, 'no room for the bytes');
  return at === 0 ? into : into.subarray(at);
}

/**
 * `bytes`, or a copy where they overlap `output` elsewhere than at `place`, where their result goes:
 * OpenSSL would read what it has overwritten. Short ones pass through memory of their own anyway.
 */
function apart(bytes: Uint8Array, output: Uint8Array, place: number): Uint8Array {
  if (bytes.length <= INSIDE_BYTES_MAX && place === 0) return bytes;
  if (bytes.buffer !== output.buffer || bytes.byteOffset === output.byteOffset + place) return bytes;
  const isBefore = bytes.byteOffset + bytes.length <= output.byteOffset;
  const isBehind = bytes.byteOffset >= output.byteOffset + output.length;
  return isBefore || isBehind ? bytes : bytes.slice();
}

/** Memory outside of V8's heap from the start. */
function outside(bytes: number): Uint8Array {
  return new Uint8Array(new ArrayBuffer(bytes));
}
