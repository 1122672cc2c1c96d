/**
 * The inner objects of Noise (revision 34, sections 5.1 and 5.2), and the beginning that handshakes
 * share. `noise.ts` runs the messages.
 */

import { assert } from '../base/assert.ts';
import { utf8 } from '../base/bytes.ts';
import { hkdfBlocks } from './hkdf.ts';
import { type NoisePattern, type ParsedPattern, PRE_MESSAGES, parsePattern } from './noise-patterns.ts';
import {
  AEAD_KEY_BYTES,
  AEAD_NONCE_BYTES,
  AEAD_TAG_BYTES,
  type Aead,
  HASH_BYTES,
  type Suite,
} from './suite.ts';
import { writeUint64 } from './uint64.ts';

export const PSK_BYTES = 32;

/** What both ends of a handshake share beforehand. All arrays are borrowed. */
export interface HandshakeBasis {
  readonly pattern: NoisePattern;
  /** Bytes that both ends must agree on; they are hashed, not sent. */
  readonly prologue: Uint8Array;
  /** One 32-byte key per psk modifier, in the order of the modifiers. */
  readonly psks: readonly Uint8Array[];
}

const EMPTY = new Uint8Array(0);
/** Where nonces are laid out: used within one call only, so all cipher states share it. */
const NONCE = new Uint8Array(new ArrayBuffer(AEAD_NONCE_BYTES));

/** A key and a counter (Noise section 5.1). Without a key, bytes pass through unchanged. */
export class CipherState {
  readonly #suite: Suite;
  #k: Uint8Array | undefined;
  #n = 0;
  /** Made at the first use: most keys of a handshake are replaced before they seal anything. */
  #aead: Aead | undefined;

  constructor(suite: Suite) {
    this.#suite = suite;
  }

  /** Sets the 32-byte key, which this object then owns and wipes, and starts the counter at 0. */
  initializeKey(key: Uint8Array): void {
    assert(key.length === AEAD_KEY_BYTES, 'a Noise cipher key has 32 bytes');
    this.wipe();
    this.#k = key;
  }

  hasKey(): boolean {
    return this.#k !== undefined;
  }

  /** Another state with a copy of the key and the same counter. */
  copy(): CipherState {
    const copy = new CipherState(this.#suite);
    if (this.#k !== undefined) copy.initializeKey(new Uint8Array(this.#k));
    copy.setNonce(this.#n);
    return copy;
  }

  setNonce(nonce: number): void {
    this.#n = nonce;
  }

  /** Seals `plaintext` and counts up. Returns a new array. */
  encryptWithAd(ad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    if (this.#k === undefined) return new Uint8Array(plaintext);
    const sealed = new Uint8Array(plaintext.length + AEAD_TAG_BYTES);
    this.#cipher(this.#k).seal(this.#currentNonce(), ad, plaintext, sealed, 0);
    this.#n++;
    return sealed;
  }

  /** Opens `ciphertext` and counts up; `undefined`, and no count, when it is not authentic. */
  decryptWithAd(ad: Uint8Array, ciphertext: Uint8Array): Uint8Array | undefined {
    if (this.#k === undefined) return new Uint8Array(ciphertext);
    if (ciphertext.length < AEAD_TAG_BYTES) return undefined;
    const plaintext = new Uint8Array(ciphertext.length - AEAD_TAG_BYTES);
    const bytes = this.#cipher(this.#k).open(this.#currentNonce(), ad, ciphertext, plaintext, 0);
    if (bytes < 0) return undefined;
    this.#n++;
    return plaintext;
  }

  /** Forgets the key and overwrites its bytes. */
  wipe(): void {
    this.#k?.fill(0);
    this.#k = undefined;
    this.#aead?.wipe();
    this.#aead = undefined;
    this.#n = 0;
  }

  #cipher(key: Uint8Array): Aead {
    this.#aead ??= this.#suite.aead(key);
    return this.#aead;
  }

  #currentNonce(): Uint8Array {
    assert(Number.isSafeInteger(this.#n) && this.#n >= 0, 'the Noise counter ran out');
    writeUint64(NONCE, 4, this.#n);
    return NONCE;
  }
}

/** The chaining key and the transcript hash (Noise section 5.2). */
export class SymmetricState {
  readonly #suite: Suite;
  readonly #cipherState: CipherState;
  #ck: Uint8Array;
  /** Replaced, never overwritten: copies share it. */
  #h: Uint8Array;

  /** InitializeSymmetric; or an equal state with keys of its own, where `from` is another. */
  constructor(suite: Suite, from: string | SymmetricState) {
    this.#suite = suite;
    if (typeof from !== 'string') {
      this.#cipherState = from.#cipherState.copy();
      this.#ck = new Uint8Array(from.#ck);
      this.#h = from.#h;
      return;
    }
    this.#cipherState = new CipherState(suite);
    const name = utf8(from);
    if (name.length <= HASH_BYTES) {
      this.#h = new Uint8Array(HASH_BYTES);
      this.#h.set(name);
    } else {
      this.#h = suite.sha256(name);
    }
    this.#ck = new Uint8Array(this.#h);
  }

  mixKey(inputKeyMaterial: Uint8Array): void {
    const [ck, tempK] = hkdfBlocks(this.#suite, this.#ck, inputKeyMaterial, 2);
    this.#advance(ck);
    this.#cipherState.initializeKey(tempK!);
  }

  mixHash(data: Uint8Array): void {
    this.#h = this.#suite.sha256(this.#h, data);
  }

  mixKeyAndHash(inputKeyMaterial: Uint8Array): void {
    const [ck, tempH, tempK] = hkdfBlocks(this.#suite, this.#ck, inputKeyMaterial, 3);
    this.#advance(ck);
    this.mixHash(tempH!);
    this.#cipherState.initializeKey(tempK!);
  }

  getHandshakeHash(): Uint8Array {
    return this.#h;
  }

  hasKey(): boolean {
    return this.#cipherState.hasKey();
  }

  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const ciphertext = this.#cipherState.encryptWithAd(this.#h, plaintext);
    this.mixHash(ciphertext);
    return ciphertext;
  }

  decryptAndHash(ciphertext: Uint8Array): Uint8Array | undefined {
    const plaintext = this.#cipherState.decryptWithAd(this.#h, ciphertext);
    if (plaintext === undefined) return undefined;
    this.mixHash(ciphertext);
    return plaintext;
  }

  /** The raw transport keys: the initiator's sending key first. The chaining key is wiped. */
  split(): { initiator: Uint8Array; responder: Uint8Array } {
    const [initiator, responder] = hkdfBlocks(this.#suite, this.#ck, EMPTY, 2);
    this.wipe();
    return { initiator, responder: responder! };
  }

  /** Overwrites the chaining key and the cipher key. */
  wipe(): void {
    this.#ck.fill(0);
    this.#cipherState.wipe();
  }

  #advance(ck: Uint8Array): void {
    this.#ck.fill(0);
    this.#ck = ck;
  }
}

/**
 * The part of a handshake that comes before anything fresh: protocol name, prologue and, where the first
 * message opens with a psk, the psk. It is the same for every handshake of a cluster, so an endpoint
 * makes it once and begins all of them from copies. As secret as the psk.
 *
 * @example
 * const start = new HandshakeStart(suite, { pattern: 'NNpsk0', prologue, psks: [psk] });
 * const initiator = new HandshakeState(suite, { ...start.basis, role: 'initiator', ephemeral }, start);
 */
export class HandshakeStart {
  readonly basis: HandshakeBasis;
  readonly parsed: ParsedPattern;
  /** How many psks are mixed in: 1 where nothing else stands before the first, whose token is then gone. */
  readonly pskCountMixed: number;
  /** Handshakes work on copies. */
  readonly symmetricState: SymmetricState;

  /** @throws AssertionError when the psks do not fit the pattern. */
  constructor(suite: Suite, basis: HandshakeBasis) {
    const parsed = parsePattern(basis.pattern);
    const { base, messages, pskCount } = parsed;
    assert(basis.psks.length === pskCount, 'one psk for each psk modifier');
    for (const psk of basis.psks) assert(psk.length === PSK_BYTES, 'a psk has 32 bytes');
    this.basis = basis;
    this.symmetricState = new SymmetricState(suite, `Noise_${basis.pattern}_25519_AESGCM_SHA256`);
    this.symmetricState.mixHash(basis.prologue);
    const [first = [], ...rest] = messages;
    const isPskFirst = PRE_MESSAGES[base].length === 0 && first[0] === 'psk';
    this.pskCountMixed = isPskFirst ? 1 : 0;
    this.parsed = isPskFirst ? { ...parsed, messages: [first.slice(1), ...rest] } : parsed;
    if (isPskFirst) this.symmetricState.mixKeyAndHash(basis.psks[0]!);
  }
}
