/**
 * The OpenSSL inside the node program itself, function by function: what `crypto/openssl-suite.ts` is
 * built on. A call costs about 0.1 us, where `node:crypto` makes an object for every operation.
 *
 * These are the C functions and no safer than they are: lengths, lifetimes and errors are the matter
 * of whoever calls. Handles are addresses, 0 where a function failed. Byte arrays are borrowed for
 * the call. Left out: everything that the suite does not need.
 */

import { loadKoffi, type NativeLibrary } from './koffi.ts';

/** The address of a C object; 0 is none. */
export type Handle = number | bigint;

export interface Libcrypto {
  cipherContextNew(): Handle;
  cipherContextFree(context: Handle): void;
  aes256Gcm(): Handle;
  /** EVP_CipherInit_ex. A cipher of 0, a key of null: those of before. `direction` is 1 to seal, 0 to open. */
  cipherInit(
    context: Handle,
    cipher: Handle,
    engine: 0,
    key: Uint8Array | null,
    nonce: Uint8Array | null,
    direction: number,
  ): number;
  /** EVP_CipherUpdate. Without `into` the bytes are additional data. `written` takes a C int. */
  cipherUpdate(
    context: Handle,
    into: Uint8Array | null,
    written: Int32Array,
    bytes: Uint8Array,
    length: number,
  ): number;
  cipherFinal(context: Handle, into: Uint8Array, written: Int32Array): number;
  /** EVP_CIPHER_CTX_ctrl, for the tag. */
  cipherControl(context: Handle, command: number, length: number, bytes: Uint8Array): number;

  /** SHA256_Init and so on, on a state in our memory of {@link SHA256_STATE_BYTES} that may be copied. */
  sha256Init(state: Uint8Array): number;
  sha256Update(state: Uint8Array, bytes: Uint8Array, length: number): number;
  sha256Final(digest: Uint8Array, state: Uint8Array): number;

  privateKeyNew(type: number, engine: 0, bytes: Uint8Array, length: number): Handle;
  publicKeyNew(type: number, engine: 0, bytes: Uint8Array, length: number): Handle;
  /** EVP_PKEY_get_raw_public_key. `length` takes a C size_t: room before, bytes after. */
  publicKeyOf(key: Handle, into: Uint8Array, length: BigUint64Array): number;
  keyFree(key: Handle): void;
  derivationNew(key: Handle, engine: 0): Handle;
  derivationInit(derivation: Handle): number;
  derivationPeer(derivation: Handle, peer: Handle): number;
  derive(derivation: Handle, into: Uint8Array, length: BigUint64Array): number;
  derivationFree(derivation: Handle): void;

  /** Empties this thread's queue of errors, which `node:crypto` would otherwise find. */
  errorsClear(): void;
}

/** No less than the 112 bytes of `SHA256_CTX`, which are part of the ABI. */
export const SHA256_STATE_BYTES = 128;

const PROTOTYPES: Readonly<Record<keyof Libcrypto, string>> = {
  cipherContextNew: 'uintptr_t EVP_CIPHER_CTX_new()',
  cipherContextFree: 'void EVP_CIPHER_CTX_free(uintptr_t)',
  aes256Gcm: 'uintptr_t EVP_aes_256_gcm()',
  cipherInit: 'int EVP_CipherInit_ex(uintptr_t, uintptr_t, uintptr_t, const uint8_t*, const uint8_t*, int)',
  cipherUpdate: 'int EVP_CipherUpdate(uintptr_t, uint8_t*, int*, const uint8_t*, int)',
  cipherFinal: 'int EVP_CipherFinal_ex(uintptr_t, uint8_t*, int*)',
  cipherControl: 'int EVP_CIPHER_CTX_ctrl(uintptr_t, int, int, uint8_t*)',
  sha256Init: 'int SHA256_Init(uint8_t*)',
  sha256Update: 'int SHA256_Update(uint8_t*, const uint8_t*, size_t)',
  sha256Final: 'int SHA256_Final(uint8_t*, uint8_t*)',
  privateKeyNew: 'uintptr_t EVP_PKEY_new_raw_private_key(int, uintptr_t, const uint8_t*, size_t)',
  publicKeyNew: 'uintptr_t EVP_PKEY_new_raw_public_key(int, uintptr_t, const uint8_t*, size_t)',
  publicKeyOf: 'int EVP_PKEY_get_raw_public_key(uintptr_t, uint8_t*, size_t*)',
  keyFree: 'void EVP_PKEY_free(uintptr_t)',
  derivationNew: 'uintptr_t EVP_PKEY_CTX_new(uintptr_t, uintptr_t)',
  derivationInit: 'int EVP_PKEY_derive_init(uintptr_t)',
  derivationPeer: 'int EVP_PKEY_derive_set_peer(uintptr_t, uintptr_t)',
  derive: 'int EVP_PKEY_derive(uintptr_t, uint8_t*, size_t*)',
  derivationFree: 'void EVP_PKEY_CTX_free(uintptr_t)',
  errorsClear: 'void ERR_clear_error()',
};

/**
 * Binds the functions; undefined where `koffi` can't be used or the program has not all of them, and
 * where the environment says `GRAMLINE_CRYPTO=node`.
 */
export function loadLibcrypto(): Libcrypto | undefined {
  if (process.env.GRAMLINE_CRYPTO === 'node') return undefined;
  try {
    const program = loadKoffi()?.load(null);
    return program === undefined ? undefined : bindLibcrypto(program);
  } catch {
    // A node program that was linked otherwise, or built without what is deprecated.
    return undefined;
  }
}

/** Binds the functions of `library`. Throws when it lacks one. */
export function bindLibcrypto(library: NativeLibrary): Libcrypto {
  const bound = Object.entries(PROTOTYPES).map(([name, prototype]) => [name, library.func(prototype)]);
  return Object.fromEntries(bound) as Libcrypto;
}
