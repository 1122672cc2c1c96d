/** What the tests of this room share: the providers, the vector files, and odds and ends of bytes. */

import { readFileSync } from 'node:fs';
import { fromHex } from '../../src/base/bytes.ts';
import { openOpensslSuite } from '../../src/crypto/best-suite.ts';
import { nobleSuite } from '../../src/crypto/noble-suite.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import type { OpensslSuite } from '../../src/crypto/openssl-suite.ts';
import type { Suite } from '../../src/crypto/suite.ts';

export const OPENSSL: OpensslSuite | undefined = openOpensslSuite();

/** All providers that work here; `node` and `noble` do everywhere. */
export const SUITES: readonly Suite[] = [nodeSuite, nobleSuite, ...(OPENSSL === undefined ? [] : [OPENSSL])];

/** The parsed vector file `test/vectors/<name>.json`. */
export function readVectors<Shape>(name: string): Shape {
  const file = new URL(`../vectors/${name}.json`, import.meta.url);
  return JSON.parse(readFileSync(file, 'utf8')) as Shape;
}

/** A Wycheproof file, of which these tests use the cases only. */
export interface Wycheproof<Case> {
  readonly numberOfTests: number;
  readonly testGroups: readonly { readonly tests: readonly Case[] }[];
}

export function wycheproofCases<Case>(name: string): Case[] {
  return readVectors<Wycheproof<Case>>(name).testGroups.flatMap((group) => group.tests);
}

export function hex(text: string): Uint8Array {
  const bytes = fromHex(text);
  if (bytes === undefined) throw new Error(`not hex: ${text}`);
  return bytes;
}

/** `length` bytes that rise from `first`: distinct, and easy to know again. */
export function rising(length: number, first = 0): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => first + index);
}

/** A copy of `bytes` with one bit turned. */
export function flipBit(bytes: Uint8Array, bit: number): Uint8Array {
  const copy = new Uint8Array(bytes);
  copy[bit >>> 3]! ^= 1 << (bit & 7);
  return copy;
}

/** `inner`, counting the calls that cost a scalar multiplication, an HMAC or an AEAD opening. */
export function countingSuite(
  inner: Suite,
): Suite & { counts: Record<'keyPair' | 'dh' | 'hmac' | 'open', number> } {
  const counts = { keyPair: 0, dh: 0, hmac: 0, open: 0 };
  return {
    counts,
    name: inner.name,
    sha256: (...parts) => inner.sha256(...parts),
    hmacSha256(key, ...parts) {
      counts.hmac++;
      return inner.hmacSha256(key, ...parts);
    },
    keyPair(privateKey) {
      counts.keyPair++;
      return inner.keyPair(privateKey);
    },
    dh(pair, publicKey) {
      counts.dh++;
      return inner.dh(pair, publicKey);
    },
    aead(key) {
      const aead = inner.aead(key);
      return {
        seal: (nonce, aad, plaintext, into, at) => aead.seal(nonce, aad, plaintext, into, at),
        open(nonce, aad, sealed, into, at) {
          counts.open++;
          return aead.open(nonce, aad, sealed, into, at);
        },
        openNew(nonce, aad, sealed) {
          counts.open++;
          return aead.openNew(nonce, aad, sealed);
        },
        sealParts: (nonce, head, body, into, at) => aead.sealParts(nonce, head, body, into, at),
        openInPlace(nonce, sealed) {
          counts.open++;
          return aead.openInPlace(nonce, sealed);
        },
        wipe: () => aead.wipe(),
      };
    },
  };
}

/** `inner`, keeping each HMAC and AEAD key array that it is given: the very array, not a copy. */
export function capturingSuite(inner: Suite, keys: Set<Uint8Array>): Suite {
  return {
    name: inner.name,
    sha256: (...parts) => inner.sha256(...parts),
    keyPair: (privateKey) => inner.keyPair(privateKey),
    dh: (pair, publicKey) => inner.dh(pair, publicKey),
    hmacSha256(key, ...parts) {
      keys.add(key);
      return inner.hmacSha256(key, ...parts);
    },
    aead(key) {
      keys.add(key);
      return inner.aead(key);
    },
  };
}

/** Those of `keys` that were not overwritten with zeros. */
export function keysLeft(keys: ReadonlySet<Uint8Array>): Uint8Array[] {
  return [...keys].filter((key) => key.some((byte) => byte !== 0));
}
