/**
 * SHA-256 by `node:crypto`, behind the port of `nodes/`.
 *
 * Objects are named by the SHA-256 of their plaintext; `crypto/` has its own for the handshake.
 */

import { createHash } from 'node:crypto';
import type { Hashing } from '../nodes/ports.ts';

/** {@link Hashing} by `node:crypto`. `update` reads its bytes at once and keeps none of them. */
export const nodeHashing: Hashing = {
  sha256() {
    const hash = createHash('sha256');
    return {
      update(bytes) {
        hash.update(bytes);
      },
      digest() {
        return new Uint8Array(hash.digest());
      },
    };
  },
};
