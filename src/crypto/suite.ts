/**
 * The port behind which a crypto provider stands: SHA-256, HMAC, X25519 and AES-256-GCM, no more.
 *
 * Providers: `openssl-suite.ts` (the quickest), `node-suite.ts` (where that can't be had) and
 * `noble-suite.ts` (portable, and the second opinion in tests); all give the same bytes. Everything else in this room is built on this interface. Left
 * out: randomness (callers inject entropy), signatures, and any choice between algorithms.
 */

export const AEAD_TAG_BYTES = 16;
export const AEAD_KEY_BYTES = 32;
export const AEAD_NONCE_BYTES = 12;
export const DH_BYTES = 32;
export const HASH_BYTES = 32;

/** An X25519 key pair, made by {@link Suite.keyPair}. Both halves are 32 bytes. */
export interface KeyPair {
  readonly privateKey: Uint8Array;
  readonly publicKey: Uint8Array;
}

/**
 * AES-256-GCM under one key. All arguments are borrowed for the call. `into` may be the buffer that
 * holds the input, at any offset.
 */
export interface Aead {
  /**
   * Seals `plaintext`: writes the ciphertext and then the 16-byte tag to `into` from `at`.
   *
   * @param nonce 12 bytes that were never used before under this key.
   * @returns The bytes written: `plaintext.length + AEAD_TAG_BYTES`.
   * @throws AssertionError when the nonce has another length or `into` lacks room.
   */
  seal(nonce: Uint8Array, aad: Uint8Array, plaintext: Uint8Array, into: Uint8Array, at: number): number;

  /**
   * Opens `sealed`: writes the plaintext to `into` from `at`.
   *
   * Never throws, whatever `sealed` and `aad` hold.
   *
   * @returns The length of the plaintext; or -1 when the tag does not match, `sealed` is shorter than a
   * tag, or `into` lacks room. After -1 the part of `into` that was meant for the plaintext is untouched
   * or zeros: it never holds bytes that nobody vouched for.
   * @throws AssertionError when the nonce has another length than 12.
   */
  open(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array, into: Uint8Array, at: number): number;

  /**
   * The plaintext in memory of its own, which belongs to the caller: for records, which are large and
   * handed on. Undefined when the tag does not match or `sealed` is shorter than a tag. Never throws,
   * whatever `sealed` and `aad` hold.
   *
   * @throws AssertionError when the nonce has another length than 12.
   */
  openNew(nonce: Uint8Array, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined;

  /**
   * Seals `head` and `body` as one plaintext without additional data: the same bytes as {@link seal} of
   * the two in one array, without the copy. `body` may lie in `into` exactly where its ciphertext goes;
   * otherwise neither part may overlap what is written.
   *
   * @returns The bytes written: `head.length + body.length + AEAD_TAG_BYTES`.
   * @throws AssertionError when the nonce has another length or `into` lacks room.
   */
  sealParts(nonce: Uint8Array, head: Uint8Array, body: Uint8Array, into: Uint8Array, at: number): number;

  /**
   * Opens `sealed`, which has no additional data, over itself: the plaintext stands at its beginning.
   *
   * Never throws, whatever `sealed` holds.
   *
   * @returns The length of the plaintext; or -1 when the tag does not match or `sealed` is shorter than
   * a tag. After -1 what `sealed` holds is undefined, not even the ciphertext: throw it away.
   * @throws AssertionError when the nonce has another length than 12.
   */
  openInPlace(nonce: Uint8Array, sealed: Uint8Array): number;

  /** Overwrites what this object owns of the key. Nothing else may be called afterwards. */
  wipe(): void;
}

/** The algorithms of `25519_AESGCM_SHA256`. Arrays that are returned belong to the caller. */
export interface Suite {
  /** The provider's name, for logs and benchmarks. */
  readonly name: string;

  /** SHA-256 of all `parts` in order. */
  sha256(...parts: readonly Uint8Array[]): Uint8Array;

  /** HMAC-SHA-256 of all `parts` in order, under a key of any length. */
  hmacSha256(key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array;

  /** The X25519 pair of 32 raw private bytes, which are copied. */
  keyPair(privateKey: Uint8Array): KeyPair;

  /**
   * The X25519 shared secret of `pair` and a peer's public key (RFC 7748 section 6.1).
   *
   * @returns 32 bytes; or `undefined` when `publicKey` is no 32 bytes or the secret is all zero.
   */
  dh(pair: KeyPair, publicKey: Uint8Array): Uint8Array | undefined;

  /** AES-256-GCM under `key`, 32 bytes, which are copied. */
  aead(key: Uint8Array): Aead;
}
