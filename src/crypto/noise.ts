/**
 * The Noise Protocol Framework, revision 34, for `25519_AESGCM_SHA256`: how two ends that share a
 * cluster secret agree on fresh keys.
 *
 * Names are those of the specification, token for token. Gramline itself runs `NNpsk0`; KK, IK, XX and
 * the other psk modifiers are here so that independent vectors can check every token. The patterns are
 * in `noise-patterns.ts`; `session/` carries the messages; `packet-protection.ts` takes what
 * {@link HandshakeState.split} gives.
 *
 * Deviations: a Diffie-Hellman result of zeros is refused (the specification leaves this open); the
 * ephemeral pair is given from outside instead of generated, since this room has no randomness; calls
 * report failure by value, because what they read comes from strangers. Left out: `Rekey`, fallback
 * patterns, and counters past 2^53.
 */

import { assert, unreachable } from '../base/assert.ts';
import { concatBytes, utf8 } from '../base/bytes.ts';
import { hkdf } from './hkdf.ts';
import {
  type NoisePattern,
  type NoiseRole,
  type NoiseToken,
  PRE_MESSAGES,
  parsePattern,
} from './noise-patterns.ts';
import {
  AEAD_KEY_BYTES,
  AEAD_NONCE_BYTES,
  AEAD_TAG_BYTES,
  type Aead,
  DH_BYTES,
  HASH_BYTES,
  type KeyPair,
  type Suite,
} from './suite.ts';
import { writeUint64 } from './uint64.ts';

/** The longest Noise message (Noise section 3). */
export const NOISE_MESSAGE_BYTES_MAX = 65_535;
export const PSK_BYTES = 32;

/** What a handshake starts from. All arrays are borrowed until the handshake ends. */
export interface HandshakeOptions {
  readonly pattern: NoisePattern;
  readonly role: NoiseRole;
  /** Bytes that both ends must agree on; they are hashed, not sent. */
  readonly prologue: Uint8Array;
  /** One 32-byte key per psk modifier, in the order of the modifiers. */
  readonly psks: readonly Uint8Array[];
  /**
   * A pair made for this handshake only [HS-1]. As a function it is called when the pair is first
   * needed: with psk0 a responder then spends no scalar multiplication on a stranger.
   */
  readonly ephemeral: KeyPair | (() => KeyPair);
  /** This end's static pair, where the pattern has one. */
  readonly staticKey?: KeyPair;
  /** The other end's static public key, where the pattern knows it beforehand. */
  readonly remoteStatic?: Uint8Array;
}

export type { NoisePattern, NoiseRole } from './noise-patterns.ts';

const EMPTY = new Uint8Array(0);

/** A key and a counter (Noise section 5.1). Without a key, bytes pass through unchanged. */
export class CipherState {
  readonly #suite: Suite;
  #k: Uint8Array | undefined;
  #n = 0;
  /** Made at the first use: most keys of a handshake are replaced before they seal anything. */
  #aead: Aead | undefined;
  readonly #nonce = new Uint8Array(AEAD_NONCE_BYTES);

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
    writeUint64(this.#nonce, 4, this.#n);
    return this.#nonce;
  }
}

/** The chaining key and the transcript hash (Noise section 5.2). */
export class SymmetricState {
  readonly #suite: Suite;
  readonly #cipherState: CipherState;
  #ck: Uint8Array;
  #h: Uint8Array;

  /** InitializeSymmetric. */
  constructor(suite: Suite, protocolName: string) {
    this.#suite = suite;
    this.#cipherState = new CipherState(suite);
    const name = utf8(protocolName);
    if (name.length <= HASH_BYTES) {
      this.#h = new Uint8Array(HASH_BYTES);
      this.#h.set(name);
    } else {
      this.#h = suite.sha256(name);
    }
    this.#ck = new Uint8Array(this.#h);
  }

  mixKey(inputKeyMaterial: Uint8Array): void {
    const [tempK] = this.#ratchet(inputKeyMaterial, 1);
    this.#cipherState.initializeKey(tempK!);
  }

  mixHash(data: Uint8Array): void {
    this.#h = this.#suite.sha256(this.#h, data);
  }

  mixKeyAndHash(inputKeyMaterial: Uint8Array): void {
    const [tempH, tempK] = this.#ratchet(inputKeyMaterial, 2);
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
    const output = hkdf(this.#suite, this.#ck, EMPTY, EMPTY, 2 * HASH_BYTES);
    this.wipe();
    return { initiator: output.slice(0, HASH_BYTES), responder: output.slice(HASH_BYTES) };
  }

  /** Overwrites the chaining key and the cipher key. */
  wipe(): void {
    this.#ck.fill(0);
    this.#cipherState.wipe();
  }

  /** Replaces the chaining key by the first HKDF output and returns the others. */
  #ratchet(inputKeyMaterial: Uint8Array, others: number): Uint8Array[] {
    const output = hkdf(this.#suite, this.#ck, inputKeyMaterial, EMPTY, (1 + others) * HASH_BYTES);
    this.#ck.fill(0);
    this.#ck = output.slice(0, HASH_BYTES);
    const rest = [];
    for (let index = 1; index <= others; index++) {
      rest.push(output.slice(index * HASH_BYTES, (index + 1) * HASH_BYTES));
    }
    output.fill(0);
    return rest;
  }
}

/**
 * One end of one handshake (Noise section 5.3).
 *
 * @example
 * const initiator = new HandshakeState(suite, { pattern: 'NNpsk0', role: 'initiator', prologue, psks: [psk], ephemeral });
 * send(initiator.writeMessage(payload));
 * const answer = initiator.readMessage(received); // undefined: refused
 * if (initiator.isComplete) useKeys(initiator.split(), initiator.handshakeHash);
 */
export class HandshakeState {
  readonly #suite: Suite;
  readonly #symmetricState: SymmetricState;
  readonly #role: NoiseRole;
  readonly #messages: readonly (readonly NoiseToken[])[];
  readonly #psks: readonly Uint8Array[];
  readonly #hasPsk: boolean;
  readonly #s: KeyPair | undefined;
  #ephemeral: KeyPair | (() => KeyPair);
  #rs: Uint8Array | undefined;
  #re: Uint8Array | undefined;
  /** The `ee` secret, computed while reading so that {@link writeMessage} can't meet a refusal. */
  #ee: Uint8Array | undefined;
  #messageIndex = 0;
  #pskIndex = 0;
  #phase: 'running' | 'refused' | 'split' = 'running';

  /** Initialize. @throws AssertionError when `options` do not fit the pattern. */
  constructor(suite: Suite, options: HandshakeOptions) {
    const { base, messages, pskCount } = parsePattern(options.pattern);
    assert(options.psks.length === pskCount, 'one psk for each psk modifier');
    assert(base === 'NN' || options.staticKey !== undefined, `${base} needs a static pair at this end`);
    for (const psk of options.psks) assert(psk.length === PSK_BYTES, 'a psk has 32 bytes');
    this.#suite = suite;
    this.#role = options.role;
    this.#messages = messages;
    this.#psks = options.psks;
    this.#hasPsk = pskCount > 0;
    this.#ephemeral = options.ephemeral;
    this.#s = options.staticKey;
    this.#rs = options.remoteStatic;
    this.#symmetricState = new SymmetricState(suite, `Noise_${options.pattern}_25519_AESGCM_SHA256`);
    this.#symmetricState.mixHash(options.prologue);
    for (const owner of PRE_MESSAGES[base]) {
      const known = owner === this.#role ? this.#s?.publicKey : this.#rs;
      assert(
        known !== undefined && known.length === DH_BYTES,
        `${base} needs the static key of the ${owner}`,
      );
      this.#symmetricState.mixHash(known);
    }
  }

  /** Whether all messages were written or read. */
  get isComplete(): boolean {
    return this.#phase !== 'refused' && this.#messageIndex === this.#messages.length;
  }

  /** The 32-byte transcript hash, borrowed; the same at both ends once the handshake is complete. */
  get handshakeHash(): Uint8Array {
    return this.#symmetricState.getHandshakeHash();
  }

  /**
   * Writes the next message of the pattern around `payload`, which is borrowed. Returns a new array.
   *
   * @throws AssertionError out of turn, after a refusal, or when the message would pass 65,535 bytes.
   */
  writeMessage(payload: Uint8Array): Uint8Array {
    assert(this.#isTurn('write'), 'not the turn of this end to write');
    const parts: Uint8Array[] = [];
    for (const token of this.#messages[this.#messageIndex]!) {
      if (token === 'e') {
        const { publicKey } = this.#e();
        parts.push(publicKey);
        this.#mixEphemeral(publicKey);
      } else if (token === 's') {
        assert(this.#s !== undefined, 'the pattern sends a static key');
        parts.push(this.#symmetricState.encryptAndHash(this.#s.publicKey));
      } else {
        assert(this.#mixToken(token), 'a static key given to this end is of low order');
      }
    }
    parts.push(this.#symmetricState.encryptAndHash(payload));
    this.#messageIndex++;
    const message = concatBytes(...parts);
    assert(message.length <= NOISE_MESSAGE_BYTES_MAX, 'a Noise message has 65,535 bytes at most');
    return message;
  }

  /**
   * Reads the next message of the pattern, which is borrowed, and returns its payload as a new array.
   *
   * Never throws on hostile bytes. `undefined` means refused: the keys are wiped and the object is
   * dead [HS-5] [HS-7]. Out of turn it returns `undefined` too but keeps its state, so that a repeated
   * datagram does no harm.
   */
  readMessage(message: Uint8Array): Uint8Array | undefined {
    if (!this.#isTurn('read')) return undefined;
    const payload = this.#read(message);
    if (payload === undefined) {
      this.#phase = 'refused';
      this.#forget();
    }
    return payload;
  }

  /**
   * Ends the handshake and gives the raw 32-byte sending key of each role. To be called once, when
   * {@link isComplete}; the handshake's own keys are wiped [HS-7].
   */
  split(): { initiator: Uint8Array; responder: Uint8Array } {
    assert(this.isComplete && this.#phase === 'running', 'split once, after the last message');
    this.#phase = 'split';
    const keys = this.#symmetricState.split();
    this.#forget();
    return keys;
  }

  #read(message: Uint8Array): Uint8Array | undefined {
    if (message.length > NOISE_MESSAGE_BYTES_MAX) return undefined; // [HS-4]
    let at = 0;
    for (const token of this.#messages[this.#messageIndex]!) {
      if (token === 'e') {
        if (message.length < at + DH_BYTES) return undefined; // [HS-4]
        this.#re = message.slice(at, at + DH_BYTES);
        at += DH_BYTES;
        this.#mixEphemeral(this.#re);
      } else if (token === 's') {
        const bytes = this.#symmetricState.hasKey() ? DH_BYTES + AEAD_TAG_BYTES : DH_BYTES;
        if (message.length < at + bytes) return undefined; // [HS-4]
        this.#rs = this.#symmetricState.decryptAndHash(message.subarray(at, at + bytes));
        at += bytes;
        if (this.#rs === undefined) return undefined; // [HS-3]
      } else if (!this.#mixToken(token)) {
        return undefined; // [HS-6]
      }
    }
    // With psk0 this is where a stranger's first message ends: no key agreement was spent on it [HS-2].
    const payload = this.#symmetricState.decryptAndHash(message.subarray(at));
    if (payload === undefined) return undefined; // [HS-3]
    this.#messageIndex++;
    if (this.#messages[this.#messageIndex]?.includes('ee')) {
      this.#ee = this.#agree(this.#e(), this.#re);
      if (this.#ee === undefined) return undefined; // [HS-6]
    }
    return payload;
  }

  /** Mixes a key agreement or a psk; false when the agreement gives zeros [HS-6]. */
  #mixToken(token: Exclude<NoiseToken, 'e' | 's'>): boolean {
    if (token === 'psk') {
      this.#symmetricState.mixKeyAndHash(this.#psks[this.#pskIndex++]!);
      return true;
    }
    const shared = this.#agreement(token);
    if (shared === undefined) return false;
    this.#symmetricState.mixKey(shared);
    shared.fill(0);
    return true;
  }

  #agreement(token: 'ee' | 'es' | 'se' | 'ss'): Uint8Array | undefined {
    const isInitiator = this.#role === 'initiator';
    switch (token) {
      case 'ee':
        return this.#ee ?? this.#agree(this.#e(), this.#re);
      case 'es':
        return isInitiator ? this.#agree(this.#e(), this.#rs) : this.#agree(this.#s, this.#re);
      case 'se':
        return isInitiator ? this.#agree(this.#s, this.#re) : this.#agree(this.#e(), this.#rs);
      case 'ss':
        return this.#agree(this.#s, this.#rs);
      default:
        return unreachable(token);
    }
  }

  #agree(pair: KeyPair | undefined, publicKey: Uint8Array | undefined): Uint8Array | undefined {
    assert(pair !== undefined && publicKey !== undefined, 'the pattern needs a key that this end lacks');
    return this.#suite.dh(pair, publicKey);
  }

  /** An ephemeral key is hashed, and with psks also mixed into the key (Noise section 9.2). */
  #mixEphemeral(publicKey: Uint8Array): void {
    this.#symmetricState.mixHash(publicKey);
    if (this.#hasPsk) this.#symmetricState.mixKey(publicKey);
  }

  #e(): KeyPair {
    if (typeof this.#ephemeral === 'function') this.#ephemeral = this.#ephemeral();
    return this.#ephemeral;
  }

  #isTurn(action: 'read' | 'write'): boolean {
    if (this.#phase !== 'running' || this.#messageIndex >= this.#messages.length) return false;
    const writer = this.#messageIndex % 2 === 0 ? 'initiator' : 'responder';
    return (writer === this.#role) === (action === 'write');
  }

  #forget(): void {
    this.#symmetricState.wipe();
    this.#ee?.fill(0);
    this.#ee = undefined;
    this.#ephemeral = forgottenEphemeral;
  }
}

function forgottenEphemeral(): never {
  assert(false, 'the handshake is over and its ephemeral pair is forgotten');
}
