/**
 * A cluster secret from a passphrase, slowly, so that guessing stays expensive.
 *
 * Anyone on the LAN can record a `HELLO` and test guesses against its MAC at leisure; 32 random bytes
 * from `gramline secret` have no such weakness, and callers warn accordingly. `cluster-keys.ts` takes
 * the result. Left out: reading the passphrase, and strength estimates beyond its length.
 */

import { scrypt } from '@noble/hashes/scrypt.js';
import { assert } from '../base/assert.ts';
import { utf8 } from '../base/bytes.ts';
import { CLUSTER_SECRET_BYTES } from './cluster-keys.ts';

/** The fewest characters (code points after NFKC) of a passphrase. */
export const PASSPHRASE_CHARS_MIN = 12;
export const PASSPHRASE_SALT_BYTES_MIN = 8;

/** 128 MiB and about 0.45 s a guess, once per start. Part of the protocol: all members must agree. */
const SCRYPT_COST = { N: 2 ** 17, r: 8, p: 1, dkLen: CLUSTER_SECRET_BYTES } as const;

/**
 * Stretches a passphrase to a 32-byte cluster secret with scrypt [SECRET-1]. Blocks for half a second.
 *
 * @param passphrase Normalised to NFKC, so that keyboards which compose accents differently agree.
 * @param salt 8 bytes or more that are the same at all members, such as the cluster's name.
 * @returns 32 bytes; or `undefined` when the passphrase is shorter than {@link PASSPHRASE_CHARS_MIN}.
 */
export function stretchPassphrase(passphrase: string, salt: Uint8Array): Uint8Array | undefined {
  assert(salt.length >= PASSPHRASE_SALT_BYTES_MIN, 'a passphrase salt has 8 bytes or more');
  const normal = passphrase.normalize('NFKC');
  if ([...normal].length < PASSPHRASE_CHARS_MIN) return undefined; // [SECRET-2]
  return scrypt(utf8(normal), salt, SCRYPT_COST);
}
