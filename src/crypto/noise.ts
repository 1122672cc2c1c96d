/**
 * The Noise Protocol Framework, revision 34, for `25519_AESGCM_SHA256`: how two ends that share a
 * cluster secret agree on fresh keys.
 *
 * Names are those of the specification, token for token. Gramline itself runs `NNpsk0`; KK, IK, XX and
 * the other psk modifiers are here so that independent vectors can check every token. The patterns are
 * in `noise-patterns.ts`, the inner objects in `noise-states.ts`; `session/` carries the messages;
 * `packet-protection.ts` takes what {@link HandshakeState.split} gives.
 *
 * Deviations: a Diffie-Hellman result of zeros is refused (the specification leaves this open); the
 * ephemeral pair is given from outside instead of generated, since this room has no randomness; calls
 * report failure by value, because what they read comes from strangers. Left out: `Rekey`, fallback
 * patterns, and counters past 2^53.
 */

import { assert, unreachable } from '../base/assert.ts';
import { concatBytes } from '../base/bytes.ts';
import { type NoiseRole, type NoiseToken, PRE_MESSAGES } from './noise-patterns.ts';
import { type HandshakeBasis, HandshakeStart, SymmetricState } from './noise-states.ts';
import { AEAD_TAG_BYTES, DH_BYTES, type KeyPair, type Suite } from './suite.ts';

/** The longest Noise message (Noise section 3). */
export const NOISE_MESSAGE_BYTES_MAX = 65_535;

/** What a handshake starts from. All arrays are borrowed until the handshake ends. */
export interface HandshakeOptions extends HandshakeBasis {
  readonly role: NoiseRole;
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
export {
  CipherState,
  type HandshakeBasis,
  HandshakeStart,
  PSK_BYTES,
  SymmetricState,
} from './noise-states.ts';

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
  #pskIndex: number;
  #phase: 'running' | 'refused' | 'split' = 'running';

  /**
   * Initialize.
   *
   * @param start The beginning of handshakes with the same pattern, prologue and psks, if there is one.
   * @throws AssertionError when `options` do not fit the pattern.
   */
  constructor(suite: Suite, options: HandshakeOptions, start?: HandshakeStart) {
    const { parsed, pskCountMixed, symmetricState } = begin(suite, options, start);
    const { base, messages, pskCount } = parsed;
    assert(base === 'NN' || options.staticKey !== undefined, `${base} needs a static pair at this end`);
    this.#suite = suite;
    this.#role = options.role;
    this.#messages = messages;
    this.#psks = options.psks;
    this.#pskIndex = pskCountMixed;
    this.#hasPsk = pskCount > 0;
    this.#ephemeral = options.ephemeral;
    this.#s = options.staticKey;
    this.#rs = options.remoteStatic;
    this.#symmetricState = symmetricState;
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

/** The state after what `start` covers, with keys that the handshake owns. */
function begin(
  suite: Suite,
  options: HandshakeOptions,
  start: HandshakeStart | undefined,
): Pick<HandshakeStart, 'parsed' | 'pskCountMixed'> & { readonly symmetricState: SymmetricState } {
  if (start === undefined) {
    const own = new HandshakeStart(suite, options);
    return { parsed: own.parsed, pskCountMixed: own.pskCountMixed, symmetricState: own.symmetricState };
  }
  const { basis } = start;
  const isSame = options.pattern === basis.pattern && options.prologue === basis.prologue;
  assert(isSame && options.psks === basis.psks, 'a handshake has the basis of its start');
  const symmetricState = new SymmetricState(suite, start.symmetricState);
  return { parsed: start.parsed, pskCountMixed: start.pskCountMixed, symmetricState };
}

function forgottenEphemeral(): never {
  assert(false, 'the handshake is over and its ephemeral pair is forgotten');
}
