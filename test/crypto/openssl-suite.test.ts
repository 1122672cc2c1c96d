/** What the provider on C functions promises beyond the port: bounded memory, and no harm done. */

import { createHash, createPrivateKey } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { bestSuite, openOpensslSuite, passesSelfTest } from '../../src/crypto/best-suite.ts';
import { nodeSuite } from '../../src/crypto/node-suite.ts';
import { CIPHER_CONTEXTS_MAX } from '../../src/crypto/openssl-aead.ts';
import { KEPT_KEYS_MAX } from '../../src/crypto/openssl-suite.ts';
import { AEAD_TAG_BYTES, type Aead, type Suite } from '../../src/crypto/suite.ts';
import { loadLibcrypto } from '../../src/native/libcrypto.ts';
import { OPENSSL, rising } from './support.ts';

const EMPTY = new Uint8Array(0);
const NONCE = rising(12);

describe('the openssl provider', () => {
  it('passes its trial wherever its functions can be loaded', () => {
    expect(OPENSSL !== undefined).toBe(loadLibcrypto() !== undefined);
  });
});

describe.skipIf(OPENSSL === undefined)('the openssl provider, where this node program has it', () => {
  const suite = OPENSSL!;

  it('is the best one', () => {
    expect(bestSuite().name).toBe('openssl');
    expect(bestSuite()).toBe(bestSuite());
  });

  it('is not there where the environment asks for node:crypto', () => {
    vi.stubEnv('GRAMLINE_CRYPTO', 'node');
    expect(openOpensslSuite()).toBeUndefined();
    vi.unstubAllEnvs();
    expect(openOpensslSuite()?.name).toBe('openssl');
  });

  it('makes no context for a key that seals nothing, and never more than the maximum', () => {
    const before = suite.held.contexts;
    const idle = Array.from({ length: 10_000 }, (_, index) => suite.aead(keyOf(index)));
    expect(suite.held.contexts).toBe(before);
    for (const aead of idle) sealed(aead, rising(3));
    expect(suite.held.contexts).toBe(CIPHER_CONTEXTS_MAX);
  });

  it('seals right whatever keys were used between, and however many', () => {
    const keys = CIPHER_CONTEXTS_MAX + 40;
    const aeads = Array.from({ length: keys }, (_, index) => suite.aead(keyOf(index)));
    const expected = aeads.map((_, index) => sealed(nodeSuite.aead(keyOf(index)), rising(70, index)));
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: keys - 1 }), { minLength: 100, maxLength: 400 }),
        fc.infiniteStream(fc.boolean()),
        (order, opens) => {
          for (const index of order) {
            const aead = aeads[index]!;
            if (opens.next().value === true) {
              const bytes = expected[index]!.slice();
              expect(aead.openInPlace(NONCE, bytes)).toBe(70);
              expect(bytes.subarray(0, 70)).toEqual(rising(70, index));
            } else {
              expect(sealed(aead, rising(70, index))).toEqual(expected[index]);
            }
          }
        },
      ),
      { numRuns: 20 },
    );
  });

  it('hands the context of a wiped key to the next one, which works', () => {
    for (let round = 0; round < 2 * CIPHER_CONTEXTS_MAX; round++) {
      const aead = suite.aead(keyOf(round));
      expect(sealed(aead, rising(9))).toEqual(sealed(nodeSuite.aead(keyOf(round)), rising(9)));
      aead.wipe();
      expect(() => sealed(aead, rising(9))).toThrow();
    }
    expect(suite.held.contexts).toBeLessThanOrEqual(CIPHER_CONTEXTS_MAX);
  });

  it('keeps a bounded number of private keys, and agrees with those that it let go', () => {
    const pairs = Array.from({ length: KEPT_KEYS_MAX + 1 }, (_, index) => suite.keyPair(keyOf(index)));
    expect(suite.held.keys).toBe(KEPT_KEYS_MAX);
    const peer = nodeSuite.keyPair(rising(32)).publicKey;
    for (const index of [0, KEPT_KEYS_MAX, KEPT_KEYS_MAX, 1]) {
      expect(suite.dh(pairs[index]!, peer)).toEqual(nodeSuite.dh(pairs[index]!, peer));
    }
    expect(suite.held.keys).toBe(KEPT_KEYS_MAX - 2);
    for (const pair of pairs) suite.dh(pair, peer);
    expect(suite.held.keys).toBe(0);
  });

  it('does not grow by what is made and dropped', () => {
    const into = new Uint8Array(100);
    const round = () => {
      for (let index = 0; index < 2000; index++) {
        suite.aead(keyOf(index)).seal(NONCE, EMPTY, rising(80), into, 0);
        suite.aead(keyOf(index)).open(NONCE, EMPTY, rising(80), into, 0);
      }
      for (let index = 0; index < 100; index++) suite.dh(suite.keyPair(keyOf(index)), rising(32));
    };
    round();
    const { contexts, keys } = suite.held;
    for (let count = 0; count < 5; count++) round();
    expect(suite.held).toEqual({ contexts, keys });
  });

  it('reads and writes where a view says, and nowhere else', () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 200 }),
        fc.nat({ max: 100 }),
        fc.nat({ max: 100 }),
        fc.nat({ max: 20 }),
        (length, from, to, aadBytes) => {
          const source = rising(400, 3);
          const target = new Uint8Array(500).fill(0xaa);
          const aad = source.subarray(from + 1, from + 1 + aadBytes);
          const plaintext = source.subarray(from, from + length);
          const window = target.subarray(to, to + length + AEAD_TAG_BYTES + 9);
          suite.aead(rising(32)).seal(NONCE, aad, plaintext, window, 5);
          expect(source).toEqual(rising(400, 3));
          const twin = new Uint8Array(500).fill(0xaa);
          nodeSuite.aead(rising(32)).seal(NONCE, aad, plaintext, twin, to + 5);
          expect(target).toEqual(twin);
        },
      ),
    );
  });

  it('copies what would be overwritten before it is read', () => {
    fc.assert(
      fc.property(fc.nat({ max: 300 }), fc.nat({ max: 120 }), fc.nat({ max: 120 }), (length, from, to) => {
        const shared = rising(600);
        const apart = new Uint8Array(600);
        suite.aead(rising(32)).seal(NONCE, EMPTY, shared.subarray(from, from + length), shared, to);
        nodeSuite.aead(rising(32)).seal(NONCE, EMPTY, rising(600).subarray(from, from + length), apart, to);
        const end = to + length + AEAD_TAG_BYTES;
        expect(shared.subarray(to, end)).toEqual(apart.subarray(to, end));
        const opened = suite.aead(rising(32)).open(NONCE, EMPTY, shared.subarray(to, end), shared, from);
        expect(opened).toBe(length);
        expect(shared.subarray(from, from + length)).toEqual(rising(600).subarray(from, from + length));
      }),
    );
  });

  it('asserts on places outside of the array', () => {
    const aead = suite.aead(rising(32));
    for (const at of [-1, 0.5, Number.NaN, 2 ** 31, Number.POSITIVE_INFINITY]) {
      expect(() => aead.seal(NONCE, EMPTY, EMPTY, new Uint8Array(40), at), String(at)).toThrow();
      expect(() => aead.sealParts(NONCE, EMPTY, EMPTY, new Uint8Array(40), at), String(at)).toThrow();
    }
  });

  it('leaves no error behind that node:crypto would find', () => {
    expect(suite.aead(rising(32)).openInPlace(NONCE, rising(50))).toBe(-1);
    expect(suite.dh(suite.keyPair(rising(32)), new Uint8Array(32))).toBeUndefined();
    expect(() => createPrivateKey('no key')).toThrow(/unsupported|no start line/);
    expect(createHash('sha256').update('abc').digest('hex')).toMatch(/^ba7816bf/);
  });

  it('hashes parts of any length, in one call or many', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.uint8Array({ maxLength: 70 }),
            fc.nat({ max: 3000 }).map((size) => rising(size)),
          ),
          {
            maxLength: 6,
          },
        ),
        fc.uint8Array({ maxLength: 130 }),
        (parts, key) => {
          expect(suite.sha256(...parts)).toEqual(nodeSuite.sha256(...parts));
          expect(suite.hmacSha256(key, ...parts)).toEqual(nodeSuite.hmacSha256(key, ...parts));
        },
      ),
    );
  });
});

describe('the self-test', () => {
  it('passes on what works', () => {
    expect(passesSelfTest(nodeSuite, nodeSuite)).toBe(true);
  });

  it('fails on anything that gives another result or throws', () => {
    const broken: Partial<Suite>[] = [
      { sha256: () => new Uint8Array(32) },
      { hmacSha256: () => new Uint8Array(32) },
      { keyPair: (key) => ({ ...nodeSuite.keyPair(key), publicKey: new Uint8Array(32) }) },
      { dh: () => undefined },
      { dh: () => new Uint8Array(32) },
      {
        dh: () => {
          throw new Error('no');
        },
      },
      { aead: (key) => changed(key, { seal: () => 0 }) },
      { aead: (key) => changed(key, { sealParts: () => 0 }) },
      { aead: (key) => changed(key, { open: () => -1 }) },
      { aead: (key) => changed(key, { openInPlace: () => -1 }) },
      { aead: (key) => changed(key, { openInPlace: (_, sealed) => sealed.length - AEAD_TAG_BYTES }) },
    ];
    for (const [index, change] of broken.entries()) {
      expect(passesSelfTest({ ...nodeSuite, ...change }, nodeSuite), `number ${index}`).toBe(false);
    }
  });
});

function changed(key: Uint8Array, change: Partial<Aead>): Aead {
  const aead = nodeSuite.aead(key);
  return {
    seal: (...call) => aead.seal(...call),
    open: (...call) => aead.open(...call),
    openNew: (...call) => aead.openNew(...call),
    sealParts: (...call) => aead.sealParts(...call),
    openInPlace: (...call) => aead.openInPlace(...call),
    wipe: () => aead.wipe(),
    ...change,
  };
}

/** 32 bytes that differ for each number below 65,536. */
function keyOf(index: number): Uint8Array {
  const key = rising(32, index);
  key[0] = index >>> 8;
  return key;
}

function sealed(aead: Aead, plaintext: Uint8Array): Uint8Array {
  const into = new Uint8Array(plaintext.length + AEAD_TAG_BYTES);
  aead.seal(NONCE, EMPTY, plaintext, into, 0);
  return into;
}
