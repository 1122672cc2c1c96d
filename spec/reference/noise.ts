/**
 * Noise_NNpsk0_25519_AESGCM_SHA256 and nothing else of Noise: the twin of the general `src/crypto/noise.ts`.
 * Names are those of the Noise specification, revision 34, sections 5 and 9.
 */

import { agree, ascii, extract, hash, hmac, join, nonceOf, open, publicKeyOf, seal } from './primitives.ts';

const PROTOCOL = 'Noise_NNpsk0_25519_AESGCM_SHA256';
const NOTHING = new Uint8Array(0);
const KEY_BYTES = 32;
const MESSAGE_BYTES_MAX = 65_535;

/** What both ends hold while they shake hands. */
export interface Handshake {
  h: Uint8Array;
  ck: Uint8Array;
  k: Uint8Array;
  n: number;
  readonly ephemeral: Uint8Array;
  remote: Uint8Array;
}

/** The state of either end before message 1: protocol name, prologue, psk. */
export function begin(prologue: Uint8Array, psk: Uint8Array, ephemeralPrivateKey: Uint8Array): Handshake {
  // The name has exactly the 32 bytes of a hash, and so it stands for itself.
  const name = ascii(PROTOCOL);
  const state: Handshake = {
    h: name,
    ck: name,
    k: NOTHING,
    n: 0,
    ephemeral: ephemeralPrivateKey,
    remote: NOTHING,
  };
  mixHash(state, prologue);
  mixKeyAndHash(state, psk);
  return state;
}

/** The initiator's message 1 around `payload`; with another public key than its own where a case wants that. */
export function writeFirst(state: Handshake, payload: Uint8Array, publicKey?: Uint8Array): Uint8Array {
  const key = publicKey ?? publicKeyOf(state.ephemeral);
  mixEphemeral(state, key);
  return join(key, encryptAndHash(state, payload));
}

/** The payload of message 1, or undefined when it is refused. */
export function readFirst(state: Handshake, message: Uint8Array): Uint8Array | undefined {
  if (message.length < KEY_BYTES || message.length > MESSAGE_BYTES_MAX) return undefined;
  state.remote = message.slice(0, KEY_BYTES);
  mixEphemeral(state, state.remote);
  return decryptAndHash(state, message.slice(KEY_BYTES));
}

/** The responder's message 2; undefined when the agreement gives zeros [HS-6]. */
export function writeSecond(state: Handshake, payload: Uint8Array): Uint8Array | undefined {
  const key = publicKeyOf(state.ephemeral);
  mixEphemeral(state, key);
  if (!mixAgreement(state)) return undefined;
  return join(key, encryptAndHash(state, payload));
}

/** The payload of message 2, or undefined when it is refused. */
export function readSecond(state: Handshake, message: Uint8Array): Uint8Array | undefined {
  if (message.length < KEY_BYTES || message.length > MESSAGE_BYTES_MAX) return undefined;
  state.remote = message.slice(0, KEY_BYTES);
  mixEphemeral(state, state.remote);
  if (!mixAgreement(state)) return undefined;
  return decryptAndHash(state, message.slice(KEY_BYTES));
}

/** The sending keys of the two ends. */
export function split(state: Handshake): { initiator: Uint8Array; responder: Uint8Array } {
  const [initiator, responder] = hkdf(state.ck, NOTHING);
  return { initiator, responder };
}

function mixHash(state: Handshake, data: Uint8Array): void {
  state.h = hash(state.h, data);
}

function mixKey(state: Handshake, input: Uint8Array): void {
  [state.ck, state.k] = hkdf(state.ck, input);
  state.n = 0;
}

function mixKeyAndHash(state: Handshake, input: Uint8Array): void {
  const [ck, middle, k] = hkdf(state.ck, input);
  state.ck = ck;
  mixHash(state, middle);
  state.k = k;
  state.n = 0;
}

/** With psks an ephemeral key is mixed into the key, too (Noise section 9.2). */
function mixEphemeral(state: Handshake, publicKey: Uint8Array): void {
  mixHash(state, publicKey);
  mixKey(state, publicKey);
}

function mixAgreement(state: Handshake): boolean {
  const shared = agree(state.ephemeral, state.remote);
  if (shared === undefined) return false;
  mixKey(state, shared);
  return true;
}

function encryptAndHash(state: Handshake, plaintext: Uint8Array): Uint8Array {
  const sealed = seal(state.k, nonceOf(0, state.n), state.h, plaintext);
  state.n += 1;
  mixHash(state, sealed);
  return sealed;
}

function decryptAndHash(state: Handshake, sealed: Uint8Array): Uint8Array | undefined {
  const plaintext = open(state.k, nonceOf(0, state.n), state.h, sealed);
  if (plaintext === undefined) return undefined;
  state.n += 1;
  mixHash(state, sealed);
  return plaintext;
}

/** HKDF of Noise section 4.3; two outputs are the first two of three. */
function hkdf(chainingKey: Uint8Array, input: Uint8Array): [Uint8Array, Uint8Array, Uint8Array] {
  const key = extract(chainingKey, input);
  const first = hmac(key, Uint8Array.of(1));
  const second = hmac(key, first, Uint8Array.of(2));
  return [first, second, hmac(key, second, Uint8Array.of(3))];
}
