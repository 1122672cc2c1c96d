/**
 * A crypto provider that reports every sealing, so that a simulation can prove that no nonce is used
 * twice under one key.
 *
 * Wraps either provider of `src/crypto`. Everything but the report is the wrapped provider's own work.
 * Left out: judging the report; the simulator keeps the set of pairs.
 */

import { toHex } from '../src/base/bytes.ts';
import type { Suite } from '../src/crypto/suite.ts';

/**
 * `inner`, with a report before each sealing.
 *
 * @param onSeal Told the id of the key and the nonce in hex. Equal key bytes have equal ids, whichever
 * object they came through; different key bytes have different ids.
 */
export function recordingSuite(inner: Suite, onSeal: (keyId: number, nonceHex: string) => void): Suite {
  const keyIds = new Map<string, number>();
  return {
    name: `recording ${inner.name}`,
    sha256: (...parts) => inner.sha256(...parts),
    hmacSha256: (key, ...parts) => inner.hmacSha256(key, ...parts),
    keyPair: (privateKey) => inner.keyPair(privateKey),
    dh: (pair, publicKey) => inner.dh(pair, publicKey),
    aead(key) {
      const keyHex = toHex(key);
      const keyId = keyIds.get(keyHex) ?? keyIds.size;
      keyIds.set(keyHex, keyId);
      const aead = inner.aead(key);
      return {
        seal(nonce, aad, plaintext, into, at) {
          onSeal(keyId, toHex(nonce));
          return aead.seal(nonce, aad, plaintext, into, at);
        },
        open: (nonce, aad, sealed, into, at) => aead.open(nonce, aad, sealed, into, at),
        openNew: (nonce, aad, sealed) => aead.openNew(nonce, aad, sealed),
        sealParts(nonce, head, body, into, at) {
          onSeal(keyId, toHex(nonce));
          return aead.sealParts(nonce, head, body, into, at);
        },
        openInPlace: (nonce, sealed) => aead.openInPlace(nonce, sealed),
        wipe: () => aead.wipe(),
      };
    },
  };
}
